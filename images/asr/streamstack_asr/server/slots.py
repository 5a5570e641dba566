"""Admission: how many sessions this server takes, on all links together, and whether it takes any at present."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamstack_asr.engines.base import EngineCondition
from streamstack_common.contracts import asr_pb2
from streamstack_common.retirement import Admission, Retirement

FULL: Final = asr_pb2.Refused.FULL
NOT_ACCEPTING: Final = asr_pb2.Refused.NOT_ACCEPTING
UNKNOWN_MODEL: Final = asr_pb2.Refused.UNKNOWN_MODEL


class NoSlotError(Exception):
    """No slot can be had; ``reason`` is the contract's, the message says what was wrong and what was expected."""

    def __init__(self, reason: asr_pb2.Refused.Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True, eq=False)
class Lease:
    """A taken slot; ``started_at`` is Unix seconds."""

    model: str
    started_at: float


@dataclass(slots=True)
class PoolUse:
    """Use of one model: slots taken now, and opens refused so far because every slot was taken."""

    in_use: int = 0
    refused_total: int = 0


class Slots:
    """The slots of one server. It accepts nothing until ``warm`` was called.

    Whoever retires or resumes through ``retirement`` calls ``admission_changed`` afterwards.

    Args:
        total: sessions at once.
        models: routing names served.
        clock: Unix seconds.

    """

    def __init__(self, *, total: int, models: tuple[str, ...], clock: Callable[[], float] = time.time) -> None:
        self.total = total
        self.pools = {model: PoolUse() for model in models}
        self.retirement = Retirement()
        self._clock = clock
        self._leases: dict[Lease, None] = {}
        self._warm = False
        self._engine = EngineCondition.WELL
        self._listeners: set[Callable[[], None]] = set()

    @property
    def in_use(self) -> int:
        """Slots taken now."""
        return len(self._leases)

    @property
    def free(self) -> int:
        """Slots that can be taken, were the server accepting."""
        return self.total - len(self._leases)

    @property
    def accepting(self) -> bool:
        """Whether new sessions are taken at all."""
        return self._warm and self._engine is EngineCondition.WELL and self.retirement.accepting

    @property
    def admission(self) -> Admission:
        """What ``/sessions`` shows; a stopping server counts as retired."""
        return Admission.OPEN if self.retirement.accepting else Admission.RETIRED

    @property
    def oldest_started_at(self) -> float | None:
        """When the longest-lived session began, Unix seconds; None when there is none."""
        return next(iter(self._leases)).started_at if self._leases else None

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of slots or admission."""
        self._listeners.add(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Undo ``subscribe``."""
        self._listeners.discard(listener)

    def take(self, model: str) -> Lease:
        """Take a slot. Raises NoSlotError."""
        pool = self.pools.get(model)
        if pool is None:
            raise NoSlotError(UNKNOWN_MODEL, f"model {model!r} is not served here: expected {', '.join(self.pools)}")
        if not self.accepting:
            raise NoSlotError(NOT_ACCEPTING, self._why_not())
        if self.free <= 0:
            pool.refused_total += 1
            raise NoSlotError(FULL, f"all {self.total} slots are taken")
        lease = Lease(model, self._clock())
        self._leases[lease] = None
        pool.in_use += 1
        self._changed()
        return lease

    def release(self, lease: Lease) -> None:
        """Give a slot back, once."""
        del self._leases[lease]
        self.pools[lease.model].in_use -= 1
        self._changed()

    def warm(self) -> None:
        """Begin to accept."""
        self._warm = True
        self._changed()

    def engine_changed(self, condition: EngineCondition) -> None:
        """Accept nothing while the engine is not well; the sessions it has go on."""
        self._engine = condition
        self._changed()

    def stop(self) -> None:
        """Accept nothing from here on, whatever is resumed."""
        self.retirement.stop()
        self._changed()

    def admission_changed(self) -> None:
        """Tell the listeners of a retire or resume."""
        self._changed()

    def _why_not(self) -> str:
        if self.retirement.stopping:
            return "the server is stopping"
        if self.retirement.retired:
            return "the server is retired"
        return f"the engine {self._engine.value}" if self._warm else "the server is not warm yet"

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()
