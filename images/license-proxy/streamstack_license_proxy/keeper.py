"""What the license is worth at this moment: the file, what is remembered of check-ins, and the clocks, together."""

import asyncio
import math
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from streamstack_common.license import License
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.checkin_memory import MemoryFile, fresh
from streamstack_license_proxy.pacing import answer_holds_seconds, interval_seconds
from streamstack_license_proxy.state import NeverConfirmedError, Standing, standing
from streamstack_license_proxy.transitions import Transitions
from streamstack_license_proxy.trust import Memory, Moment
from streamstack_license_proxy.watch import LicenseWatch

LOOK_SECONDS: Final = 1.0
"""How stale a replaced file may be seen, and an expiry be logged; answers are judged when they are given."""


class LicenseKeeper:
    """Judges the license whenever asked, and looks for changes.

    Args:
        watch: the license file.
        memory_file: what outlives the process.
        registry: where the metrics go.
        clock: all clocks.
        checkin_setting_seconds: pause between check-ins, as it is set.

    """

    def __init__(
        self,
        watch: LicenseWatch,
        memory_file: MemoryFile,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], Moment],
        checkin_setting_seconds: float,
    ) -> None:
        self._watch = watch
        self._file = memory_file
        self._clock = clock
        self._setting_seconds = checkin_setting_seconds
        self._memory: Memory = fresh()
        self._problem: str | None = None
        self._transitions = Transitions(registry)
        self._changes: list[asyncio.Event] = []
        self._register(registry)

    @property
    def license(self) -> License | None:
        """The authentic license, valid now or not."""
        reading = self._watch.reading
        return reading if isinstance(reading, License) else None

    @property
    def token(self) -> str | None:
        """The authentic license itself: a secret."""
        return self._watch.token

    @property
    def bills_usage(self) -> bool:
        """Whether usage is kept and, but for an offline license, uploaded."""
        license_ = self.license
        return license_ is not None and license_.billing == "usage"

    @property
    def instance_id(self) -> str:
        """The installation's name at the authority: random, and it outlives restarts."""
        return self._memory.instance_id

    @property
    def problem(self) -> str | None:
        """Why the last check-in was not good; None when it was, or there was none."""
        return self._problem

    def online(self) -> tuple[License, str] | None:
        """Return a license that wants check-ins, and its token; None when there is no such."""
        return self._watch.online()

    def changes(self) -> asyncio.Event:
        """Return an event of the caller's own: set by every look that finds another license, cleared by the caller."""
        event = asyncio.Event()
        self._changes.append(event)
        return event

    def now(self) -> Moment:
        """Return this moment."""
        return self._clock()

    def standing(self) -> Standing:
        """Judge the license at this moment."""
        reading, trust, holds = self._watch.reading, None, 0.0
        if isinstance(reading, License):
            trust = self._memory.of(reading.license_id)
            holds = answer_holds_seconds(interval_seconds(self._setting_seconds, reading.trust_window_seconds))
        return standing(reading, trust, self.now(), answer_holds_seconds=holds)

    def unready(self) -> str | None:
        """Say why gateways had better ask another proxy; None when this one's word is as good as any.

        A Failed license is told, not hidden. But a proxy that no check-in was ever good of knows nothing yet, and
        would tell Ready of a license that was revoked.
        """
        judged = self.standing()
        if self.online() is None or self._memory.ever_good:
            return None
        if judged.state is LicenseState.FAILED and not isinstance(judged.failure, NeverConfirmedError):
            return None
        return f"no check-in with the license authority was good yet: {self._problem or 'none was tried'}"

    async def start(self) -> None:
        """Take up what was remembered, and read the file."""
        self._memory = await self._file.recall()
        await self.look()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Read the file once, and say what changed."""
        if await self._watch.look():
            online = self.online()
            self._problem = None
            if online is not None:
                await self._become(self._memory.seen(online[0].license_id, self.now()))
            for event in self._changes:
                event.set()
        self._note()

    async def good(self, license_id: str, *, authority_time: datetime) -> None:
        """After a good check-in."""
        self._note_problem(license_id, None)
        await self._become(self._memory.good(license_id, self.now(), authority_time=authority_time))

    async def failed(self, license_id: str, problem: str) -> None:
        """After one without an answer that proves anything."""
        self._note_problem(license_id, problem)
        await self._become(self._memory.failed(license_id, self.now()))

    async def revoked(self, license_id: str) -> None:
        """After one whose answer is that the license is revoked."""
        self._note_problem(license_id, None)
        await self._become(self._memory.revoked(license_id, self.now()))

    async def _become(self, memory: Memory) -> None:
        self._memory = memory
        self._note()
        await self._file.remember(memory)

    def _note_problem(self, license_id: str, problem: str | None) -> None:
        """An answer may be about the license before this one."""
        online = self.online()
        if online is not None and online[0].license_id == license_id:
            self._problem = problem

    def _note(self) -> None:
        self._transitions.note(self.standing(), content=self._watch.content, problem=self._problem)

    def _register(self, registry: CollectorRegistry) -> None:
        """Gauges that are judged when they are scraped."""
        state = Gauge("streamstack_license_state", "1 for the license's state", ["state"], registry=registry)
        for each in LicenseState:
            state.labels(state=each).set_function(partial(self._is, each))
        for name, what, value in (
            ("valid", "1 while the license is valid", lambda: float(self.standing().failure is None)),
            (
                "expiry_timestamp_seconds",
                "Unix time at which the license expires; NaN without an authentic one",
                self._expiry,
            ),
            (
                "trust_expiration_timestamp_seconds",
                "Unix time until which the last good check-in is trusted; NaN before one",
                lambda: _unix(self.standing().trusted_until),
            ),
            (
                "last_checkin_timestamp_seconds",
                "Unix time of the last good check-in, by the authority's clock; NaN before one",
                lambda: _unix(self.standing().last_good),
            ),
        ):
            Gauge(f"streamstack_license_{name}", what, registry=registry).set_function(value)

    def _is(self, state: LicenseState) -> float:
        return float(self.standing().state is state)

    def _expiry(self) -> float:
        license_ = self.license
        return math.nan if license_ is None else float(license_.exp)


def _unix(moment: datetime | None) -> float:
    return math.nan if moment is None else moment.timestamp()
