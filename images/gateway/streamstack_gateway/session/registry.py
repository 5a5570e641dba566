"""All live sessions of this gateway: who is admitted, who is counted, who has to go when memory runs out."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from streamstack_common.retirement import Admission, Retirement
from streamstack_common.sessions_report import PoolSessions, SessionsReport
from streamstack_gateway import errors
from streamstack_gateway.dialects.events import SessionRequest
from streamstack_gateway.models import ModelMap, Resolved, is_licensed
from streamstack_gateway.placement.ports import Pools
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import UNMETERED, Allowance, Client, Limits, Meter
from streamstack_gateway.session.session import Session
from streamstack_gateway.tokens import Grant

MAX_LATE_SECONDS: Final = 0.25
"""A gateway whose own clock runs so late, averaged over about a second, has no time for another session; calibration
sets ``max_sessions`` lower than that, so this is for what calibration did not foresee."""

LATENESS_WEIGHT: Final = 0.1


def _within(limits: Limits, grant: Grant) -> Limits:
    """The gateway's limits, and the credential's own."""
    own = grant.max_session_seconds
    if own is None or own >= limits.max_session_seconds:
        return limits
    return replace(limits, max_session_seconds=own)


class Sessions:
    """Admission and accounting.

    ``license_refusal`` answers why the license admits nobody, or None; ``allowance`` what it leaves this gateway.
    """

    def __init__(
        self,
        *,
        models: ModelMap,
        pools: Pools,
        budget: ByteBudget,
        limits: Limits,
        capacity: int,
        max_sessions: int,
        revision: str,
        license_refusal: Callable[[], str | None],
        allowance: Callable[[], Allowance] = Allowance,
        meter: Meter = UNMETERED,
    ) -> None:
        self.instance_id = uuid.uuid4().hex
        self.retirement = Retirement()
        self.outcomes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.audio_ms_total = 0
        self._models = models
        self._pools = pools
        self._budget = budget
        self._limits = limits
        self._capacity = capacity
        self._max_sessions = max_sessions
        self._revision = revision
        self._license_refusal = license_refusal
        self._allowance = allowance
        self._meter = meter
        self._late_seconds = 0.0
        self._live: dict[str, Session] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._live.values())

    def begin(self, request: SessionRequest, grant: Grant, client: Client, now: float) -> Session:
        """Admit a client and greet it. Raises SessionError when it cannot be had; the refusal is counted."""
        try:
            resolved = self._models.resolve(request)
            self._admit(resolved)
        except errors.SessionError as error:
            self.refusals[error.reason] += 1
            raise
        session = Session(
            str(uuid.uuid4()),
            request,
            resolved,
            client=client,
            pools=self._pools,
            budget=self._budget,
            limits=_within(self._limits, grant),
            now=now,
            wall_seconds=time.time(),
            on_over=self._over,
        )
        self._live[session.id] = session
        self._empty.clear()
        self._meter.begin(session)
        session.begin()
        return session

    def tick(self, now: float, *, late_seconds: float) -> None:
        """Let every session see the time; ``late_seconds`` is how late the call itself comes."""
        self._late_seconds += (late_seconds - self._late_seconds) * LATENESS_WEIGHT
        for session in list(self._live.values()):
            session.tick(now)

    def relieve(self) -> None:
        """While the budget is exceeded, end the session that holds the most."""
        while self._budget.exceeded and self._live:
            longest = max(self._live.values(), key=lambda session: len(session.recognition.upstream.buffer))
            longest.fail(errors.buffer_budget())

    async def empty(self) -> None:
        """Wait until no session is live."""
        await self._empty.wait()

    def end_all(self, error: errors.SessionError) -> None:
        """End what is still live."""
        for session in list(self._live.values()):
            session.fail(error)

    @property
    def admission(self) -> Admission:
        """What new sessions meet."""
        if not self.retirement.accepting:
            return Admission.RETIRED
        blocked = self._meter.full or self._license_refusal() is not None
        return Admission.LICENSE_BLOCKED if blocked else Admission.OPEN

    def report(self) -> SessionsReport:
        """The body of ``/sessions``."""
        # Sessions are kept in the order they began.
        oldest = next(iter(self._live.values()), None)
        return SessionsReport(
            instance_id=self.instance_id,
            revision=self._revision,
            admission=self.admission,
            generation=self.retirement.generation,
            sessions=len(self._live),
            oldest_started_at=datetime.fromtimestamp(oldest.started_wall_seconds, UTC) if oldest else None,
            capacity=self._capacity,
            max_sessions=self._max_sessions,
            pools={
                name: PoolSessions(in_use=pool.in_use, waiting=pool.waiting, refused_total=pool.refused_total)
                for name, pool in self._pools.report().items()
            },
        )

    def _admit(self, resolved: Resolved) -> None:
        """Everything is decided from what is known already: ``Begin`` never waits (DESIGN 4)."""
        if not self.retirement.accepting:
            raise errors.retired()
        self._admit_by_license(resolved)
        if len(self._live) >= self._max_sessions:
            raise errors.too_many_sessions()
        if not self._budget.admits or self._late_seconds > MAX_LATE_SECONDS:
            raise errors.overloaded()
        free = self._pools.free_slots(resolved.pool)
        if free is not None and free <= 0:
            self._pools.refuse(resolved.pool)
            raise errors.pool_full(resolved.pool)

    def _admit_by_license(self, resolved: Resolved) -> None:
        refusal = self._license_refusal()
        if refusal is not None:
            raise errors.license_refused(refusal)
        allowance = self._allowance()
        if not is_licensed(resolved, allowance.models):
            raise errors.model_not_licensed(resolved.model)
        if allowance.sessions is not None and len(self._live) >= allowance.sessions:
            raise errors.license_full(allowance.sessions)
        if self._meter.full:
            raise errors.usage_undelivered()

    def _over(self, session: Session) -> None:
        del self._live[session.id]
        if not self._live:
            self._empty.set()
        self.outcomes[session.outcome] += 1
        self.audio_ms_total += session.audio_ms
        self._meter.over(session)
