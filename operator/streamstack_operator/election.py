"""One operator at a time works; the others stand by: leader election over a Lease.

The client library has one too (``kubernetes.aio.leaderelection`` 37.0), which is of no use here: it writes local time
as if it were UTC, counts by the wall clock, keeps the lease when the process stops, so that a successor waits 15
seconds, and ends with the first error that is no ``ApiException``: any connection that is refused.

A candidate never compares clocks: it takes a lease over when it has seen no change of it for as long as the lease says,
by its own monotonic clock. A leader that could not renew stops its work before anybody can have waited that long.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from streamstack_operator.facts import Manifest, ObjectKey
from streamstack_operator.kube import ConflictError, KubeError, NotFoundError

log = logging.getLogger(__name__)

LEASE_API: Final = "coordination.k8s.io/v1"
RELEASE_SECONDS: Final = 3.0


class Leases(Protocol):
    """What an election needs of the API server; every method raises KubeError."""

    async def get(self, key: ObjectKey, *, namespace: str) -> Manifest | None:
        """Return an object, None where there is none."""

    async def create(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        """Make an object; ConflictError when it is there."""

    async def replace(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        """Write over the version that ``manifest`` names; ConflictError when it changed, NotFoundError when gone."""


class LeadershipLostError(Exception):
    """Somebody else holds the lease that this process held: it has to end, whatever it was doing."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long a lease holds, how long its holder tries to renew it, and how often both are looked at, in seconds."""

    lease_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry_seconds < self.renew_seconds < self.lease_seconds:
            raise ValueError(f"expected retry < renew < lease, got {self}")

    @classmethod
    def of(cls, lease_seconds: int) -> "Times":
        """Return times in the usual proportion: 15, 10 and 2 seconds."""
        return cls(lease_seconds, lease_seconds * 2 / 3, lease_seconds * 2 / 15)


class Election:
    """A candidate; ``identity`` is unlike any other's, also unlike that of the same pod's last process."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: Times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._key = ObjectKey(LEASE_API, "Lease", name)
        self._identity = identity
        self._times = times
        self._clock = clock
        self._lease: Manifest | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed = 0.0
        self.leading = False
        self.problem: str | None = None
        """Why it cannot even stand for election; None while it can."""

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the lease, do ``work`` while it holds, and so on; gives the lease back when cancelled.

        Without an API server to renew it, work ends and is begun anew with the next lease: the process stays.

        Raises:
            LeadershipLostError: somebody else took the lease.

        """
        while True:
            await self._acquire()
            working = asyncio.create_task(work())
            self.leading = True
            try:
                await self._hold(working)
            except LeadershipLostError as lost:
                log.error("leads no more, this process ends: %s", lost)  # noqa: TRY400 - it is no defect
                self._lease = None  # nothing to give back
                raise
            finally:
                self.leading = False
                await _ended(working)
                await self._release()
            if working.done() and not working.cancelled():
                working.result()
                return

    async def _acquire(self) -> None:
        while not await self._takes():  # noqa: ASYNC110 - nobody tells when a holder is gone
            await asyncio.sleep(self._times.retry_seconds)
        log.info("leads now: %s holds lease %s/%s", self._identity, self._namespace, self._key.name)

    async def _takes(self) -> bool:
        asked = self._clock()
        try:
            async with asyncio.timeout(self._times.renew_seconds):
                found = await self._leases.get(self._key, namespace=self._namespace)
                if found is not None and not self._is_free(found):
                    self._tell(None)
                    return False
                await self._write(found, asked=asked)
        except ConflictError:
            return False  # another candidate was faster
        except (KubeError, TimeoutError) as error:
            self._tell(f"cannot stand for election: {error or 'no answer in time'}")
            return False
        self._tell(None)
        return True

    def _is_free(self, lease: Manifest) -> bool:
        version, now = str(lease["metadata"]["resourceVersion"]), self._clock()
        spec = lease.get("spec") or {}
        if version != self._seen[0]:
            self._seen = (version, now)
        if _holder(lease) in {"", self._identity}:
            return True
        return now - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._times.lease_seconds)

    async def _hold(self, working: asyncio.Task[None]) -> None:
        """Renew until ``working`` ends, or until there is no time left to renew in."""
        while True:
            await asyncio.wait({working}, timeout=self._times.retry_seconds)
            if working.done():
                return
            left = self._renewed + self._times.renew_seconds - self._clock()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._renew()
            except (KubeError, TimeoutError) as error:
                if self._clock() - self._renewed >= self._times.renew_seconds:
                    log.warning("leads no more, the lease could not be renewed: %s", error or "no answer in time")
                    return

    async def _renew(self) -> None:
        asked = self._clock()
        try:
            await self._write(self._lease, asked=asked)
        except (ConflictError, NotFoundError):
            found = await self._leases.get(self._key, namespace=self._namespace)
            if found is not None and _holder(found) != self._identity:
                place = f"{self._namespace}/{self._key.name}"
                raise LeadershipLostError(f"{_holder(found) or 'nobody'} holds lease {place} now") from None
            await self._write(found, asked=asked)

    async def _write(self, known: Manifest | None, *, asked: float) -> None:
        """Make the lease ours, over the version that is known; it counts from when that was asked for."""
        spec = dict((known or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._identity:
            spec |= {"acquireTime": _moment(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + bool(known)}
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.lease_seconds,
            "renewTime": _moment(),
        }
        if known is None:
            about: dict[str, Any] = {"name": self._key.name, "namespace": self._namespace}
            lease = {"apiVersion": LEASE_API, "kind": self._key.kind, "metadata": about, "spec": spec}
            self._lease = await self._leases.create(lease, namespace=self._namespace)
        else:
            self._lease = await self._leases.replace({**known, "spec": spec}, namespace=self._namespace)
        self._renewed = asked

    async def _release(self) -> None:
        """Give the lease back, so that a successor begins at once."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _moment()}
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._leases.replace({**lease, "spec": spec}, namespace=self._namespace)
        except (KubeError, TimeoutError) as error:
            log.warning("the lease could not be given back: %s", error or "no answer in time")

    def _tell(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem


def _holder(lease: Mapping[str, Any]) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end, whatever it is."""
    task.cancel()
    await asyncio.wait({task})


def _moment() -> str:
    """Return now as Leases have it: RFC 3339 with microseconds, in UTC. Nobody compares it; it is for people."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
