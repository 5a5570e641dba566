"""The operator as a process: puts the pieces together, serves until asked to stop."""

import asyncio
import gc
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from streamstack_common import process
from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_operator import wiring
from streamstack_operator.api_watch import ApiWatch
from streamstack_operator.cache import Cache
from streamstack_operator.crd_watch import SOON_SECONDS, CrdWatch
from streamstack_operator.election import Election, Times
from streamstack_operator.facts import Problem, StackKey
from streamstack_operator.kube import Kube
from streamstack_operator.metrics import PassMetrics, gauge, make_registry
from streamstack_operator.queue import KeyedQueue
from streamstack_operator.settings import OperatorSettings
from streamstack_operator.watchdog import watchdog
from streamstack_operator.watching import Watching

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What is done about stacks: a pass over one, who is told of an older CRD, and which fields a schema lacks."""

    reconcile: Callable[[StackKey], Awaitable[float]]
    crd_changed: Callable[[Problem | None], None]
    missing_fields: Callable[[Mapping[str, Any]], tuple[str, ...]]


class Operator:
    """All pieces of one process. ``stop`` ends it."""

    def __init__(self, settings: OperatorSettings, *, kube: Kube, cache: Cache, work: Work) -> None:
        self.stop = process.stop_requested()
        self.registry = make_registry(kube.requests)
        self._queue = KeyedQueue(work.reconcile, workers=settings.workers, ended=PassMetrics(self.registry).ended)
        self._crd = CrdWatch(
            kube,
            work.missing_fields,
            changed=self._crd_changed,
            soon_seconds=min(SOON_SECONDS, settings.crd_check_seconds),
            every_seconds=settings.crd_check_seconds,
        )
        self._tell_crd = work.crd_changed
        self._cache = cache
        self._watching = Watching(
            kube=kube,
            cache=cache,
            crd=self._crd,
            wake=self._queue.wake,
            watch=self._watch,
            namespaces=settings.namespaces,
            relist_seconds=settings.relist_seconds,
        )
        self._handlers = wiring.make_registry(seen=self._watching.seen, gone=self._watching.gone, access=kube.access)
        self._api = ApiWatch(kube, every_seconds=settings.api_check_seconds, back=self._watching.relist_soon)
        self._election = _election(settings, kube) if settings.elects else None
        self.alive = watchdog(self._queue, after_seconds=settings.watchdog_seconds)
        self._register()

    async def run(self) -> None:
        """Work until cancelled; what breaks takes the process down, and the kubelet starts a new one."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._api.run())
            tasks.create_task(self._crd.run())
            tasks.create_task(self._lead() if self._election is None else self._election.run(self._lead))

    def not_ready(self) -> str | None:
        """Return why the operator is not ready; one that stands by is."""
        if self._api.problem is not None or self._crd.problem is not None:
            return self._api.problem or self._crd.problem
        if self._election is None or self._election.leading:
            return self._watching.problem
        return self._election.problem

    async def _lead(self) -> None:
        """See everything, then look after it. A pass begins only when the cache is whole."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watching.run())
            await self._watching.listed.wait()
            tasks.create_task(self._queue.run())

    async def _watch(self, namespaces: tuple[str, ...]) -> None:
        await wiring.watch(self._handlers, namespaces=namespaces, stop=self.stop.set)

    def _crd_changed(self, outdated: Problem | None) -> None:
        self._tell_crd(outdated)
        for key in self._cache.stacks():
            self._queue.wake(key)

    def _register(self) -> None:
        figures: Mapping[str, tuple[str, Callable[[], float]]] = {
            "api_server_usable": (
                "1 while the API server answers and is of a version this operator knows",
                lambda: float(self._api.problem is None),
            ),
            "crd_usable": ("1 while the CRD is served and has all fields", lambda: float(self._crd.problem is None)),
            "leader": (
                "1 while this process looks after stacks",
                lambda: float(self._election is None or self._election.leading),
            ),
            "queue_depth": ("stacks that are due and wait for a worker", lambda: float(self._queue.depth)),
            "working": ("stacks that a pass looks at", lambda: float(self._queue.working)),
            "watch_restarts": ("how often watches gave up and were begun anew", lambda: self._watching.restarts),
            "stacks": ("StreamingStacks seen", lambda: float(len(self._cache.stacks()))),
        }
        for name, (about, value) in figures.items():
            gauge(self.registry, name, about, value)


async def serve(settings: OperatorSettings, *, credential: Credential, kube: Kube, cache: Cache, work: Work) -> None:
    """Serve until SIGTERM or SIGINT."""
    wiring.quiet_logs()
    operator = Operator(settings, kube=kube, cache=cache, work=work)
    http = _http(credential, operator, operator.registry)
    port = await http.start(settings.host, settings.internal_port)
    try:
        log.info("operator %s serves on port %d", settings.version, port)
        process.announce(operator=base_url(settings.host, port))
        gc.freeze()
        await process.run_until(operator.stop, operator.run())
    finally:
        await http.stop()
    log.info("operator stopped")


def _http(credential: Credential, operator: Operator, registry: CollectorRegistry) -> InternalHttp:
    return InternalHttp(credential=credential, registry=registry, ready=operator.not_ready, alive=operator.alive)


def _election(settings: OperatorSettings, kube: Kube) -> Election:
    """Return a candidate. Its name ends with something that is not the pod's: a container restarts, its pod stays."""
    return Election(
        kube,
        namespace=settings.pod_namespace or "",
        name=settings.lease_name,
        identity=f"{settings.pod_name}_{secrets.token_hex(4)}",
        times=Times.of(settings.lease_seconds),
    )
