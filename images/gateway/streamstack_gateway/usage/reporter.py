"""Reports sessions' use to the license proxies while they run.

Nothing here is on a session's way: ``begin`` and ``over`` only note a report in memory, and everything else happens a
few times a second, however many sessions and messages there are.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from streamstack_common.license_status import Billing
from streamstack_gateway.license.proxies import Proxies
from streamstack_gateway.placement.backoff import RANDOM
from streamstack_gateway.session.ports import Metered
from streamstack_gateway.usage.delivery import Delivery
from streamstack_gateway.usage.keeper import Keeper
from streamstack_gateway.usage.metrics import UsageMetrics
from streamstack_gateway.usage.spool import Spool
from streamstack_gateway.usage.tally import Reading, Tally

log = logging.getLogger(__name__)

SWEEP: Final = 1 / 40
"""Part of the interval after which it is looked again what is due, unsent and unwritten; what was reported in between
goes in one batch."""
MAX_SWEEP_SECONDS: Final = 0.25
PATIENCE_SWEEPS: Final = 2
"""So many sweeps a report may be unacknowledged before it is written to the disk. With the latest moment of a report
(``tally.REPORT_LATEST``) and the sweeps themselves, what a session used up to less than an interval ago is at a proxy
or on the disk, whenever its gateway is killed."""
LAST_SECONDS: Final = 1.0
"""What a stop gives to reports at least, even where sessions have used up its grace."""


@dataclass(frozen=True, slots=True)
class ReportPolicy:
    """How often sessions report, and how long a proxy may take to have a batch on its disk."""

    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0

    @property
    def sweep_seconds(self) -> float:
        """How often it is looked what there is to do."""
        return min(MAX_SWEEP_SECONDS, self.interval_seconds * SWEEP)


class UsageReporter:
    """Implements ``session.ports.Meter``.

    A session is reported if it began under a license with usage billing; one that began under flat billing never is.
    While billing is flat nothing is sent: what is left of usage billing waits for its return, and no stop waits for
    that. Sessions that begin while billing is not known (a memory of an older version, and the proxy away) are counted,
    and neither sent nor written until it is.

    Args:
        proxies: any of them takes any report.
        billing: what the license says now.
        spool_file: keeps what nobody took; None is memory only.

    """

    def __init__(
        self,
        proxies: Proxies,
        registry: CollectorRegistry,
        *,
        billing: Callable[[], Billing | None],
        spool_file: Path | None,
        policy: ReportPolicy | None = None,
    ) -> None:
        policy = policy or ReportPolicy()
        self._billing = billing
        self._tally = Tally(interval_seconds=policy.interval_seconds, chance=RANDOM.random)
        self._delivery = Delivery(
            proxies,
            self._tally,
            UsageMetrics(registry, self._tally, time.monotonic),
            billing=billing,
            timeout_seconds=policy.timeout_seconds,
        )
        self._spool_file = spool_file
        self._sweep_seconds = policy.sweep_seconds
        self._keeper = None
        if spool_file is not None:
            self._keeper = Keeper(
                Spool(spool_file),
                self._tally,
                billing=billing,
                patience_seconds=PATIENCE_SWEEPS * self._sweep_seconds,
                look_seconds=self._sweep_seconds,
            )
        self._live: dict[str, Metered] = {}
        self._provisional: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, session: Metered) -> None:
        """See ``Meter``."""
        billing = self._billing()
        if billing == "flat":
            return
        if billing is None:
            self._provisional.add(session.id)
        self._live[session.id] = session
        self._tally.begin(_read(session), now=time.monotonic(), wall=datetime.now(UTC))

    def over(self, session: Metered) -> None:
        """See ``Meter``."""
        if self._live.pop(session.id, None) is not None:
            self._tally.end(_read(session), session.outcome, now=time.monotonic(), wall=datetime.now(UTC))

    @property
    def full(self) -> bool:
        """See ``Meter``."""
        return self._tally.full and self._billing() != "flat"

    async def start(self) -> None:
        """Take up what an earlier process left, then report until :meth:`stop`."""
        work = {"usage-sweep": self._sweep(), "usage-delivery": self._delivery.run()}
        if self._keeper is None:
            log.info("usage that cannot be delivered is kept in memory alone: STATE_DIR is not set")
        else:
            await self._keeper.recall()
            work["usage-keeper"] = self._keeper.run()
        for name, coroutine in work.items():
            task = asyncio.create_task(coroutine, name=name)
            task.add_done_callback(_report_death)
            self._tasks.append(task)

    async def stop(self, grace_seconds: float) -> None:
        """Deliver what is unsent, once sessions are over; what is left at the end of the grace is in the spool."""
        if not self._tasks:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace_seconds, LAST_SECONDS)):
                await self._delivery.finish()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._keeper is not None:
            await self._keeper.finish()
        if self._tally.unsent:
            log.critical(
                "%d usage reports are not delivered; %d of them are kept in %s",
                self._tally.unsent,
                self._tally.kept,
                self._spool_file or "no file: STATE_DIR is not set",
            )

    async def _sweep(self) -> None:
        """Read the sessions that are due; say that there is something to send."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            self._judge_provisional()
            now, wall = time.monotonic(), datetime.now(UTC)
            for session_id in self._tally.due(now):
                self._tally.interval(_read(self._live[session_id]), now=now, wall=wall)
            if self._tally.unsent:
                self._delivery.want()

    def _judge_provisional(self) -> None:
        """What was counted while billing was not known is owed, or is not."""
        billing = self._billing()
        if billing is None or not self._provisional:
            return
        if billing == "flat":
            for session_id in self._provisional:
                self._live.pop(session_id, None)
            self._tally.drop(self._provisional)
        self._provisional.clear()


def _read(session: Metered) -> Reading:
    return Reading(
        session_id=session.id,
        started_at=datetime.fromtimestamp(session.started_wall_seconds, UTC),
        model=session.model,
        audio_ms=session.audio_ms,
        transcript_characters=session.used.transcript_characters,
        features=tuple(sorted(session.used.features)),
    )


def _report_death(task: asyncio.Task[None]) -> None:
    """Say that reporting ended by a defect: what is owed would grow in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s died", task.get_name(), exc_info=task.exception())
