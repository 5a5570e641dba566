"""Which sessions take the next step together. Pure: no clock, no I/O.

A session with a step's worth of audio waits in the lane of its lookahead. A lane is due as soon as waiting longer would
not make its batch larger (every session of the lane waits, or the largest batch is full), or when the one that has
waited longest has waited the most it may. Whatever waits then is stepped, so a batch is as large as the load makes it,
and nobody waits for a tick that is not his.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_WAIT_MS: Final = 5.0
"""A step costs nearly the same for 1 row and for 16, so it pays to wait for others; 5 ms are under a tenth of the
shortest chunk, and 1,500 sessions with chunks of 560 ms have 13 rows ready in that time."""
LARGEST_BATCH: Final = 256
"""Rows; beyond, a step takes proportionally longer, so that larger ones only make those waiting wait longer."""


class Batch(NamedTuple):
    """Sessions that take a step together, in the order they came to wait."""

    lookahead: int
    sessions: tuple[int, ...]


@dataclass(slots=True)
class _Lane:
    members: int = 0
    waiting: dict[int, float] = field(default_factory=dict)  # session -> since when, the longest first

    def due_ms(self, *, max_wait_ms: float, largest: int) -> float:
        since = next(iter(self.waiting.values()))
        return since if len(self.waiting) >= min(self.members, largest) else since + max_wait_ms


class Scheduler:
    """The lanes. Times are ms on a clock that never goes back."""

    def __init__(self, *, max_wait_ms: float = MAX_WAIT_MS, largest: int = LARGEST_BATCH) -> None:
        self._max_wait_ms = max_wait_ms
        self._largest = largest
        self._lanes: dict[int, _Lane] = {}

    def join(self, lookahead: int) -> None:
        """Count one session more in a lane."""
        self._lanes.setdefault(lookahead, _Lane()).members += 1

    def leave(self, lookahead: int, session: int) -> None:
        """Count one less; it waits no more."""
        lane = self._lanes[lookahead]
        lane.members -= 1
        lane.waiting.pop(session, None)

    def add(self, lookahead: int, session: int, now_ms: float) -> None:
        """Let a session wait for its next step; one that waits already keeps its place."""
        self._lanes[lookahead].waiting.setdefault(session, now_ms)

    def due_ms(self) -> float | None:
        """When the next step is due, maybe in the past; None when nobody waits."""
        return min(self._dues(), default=None)

    def take(self, now_ms: float) -> Batch | None:
        """Take a batch of the lane that is due longest; None when none is due. Its sessions wait no more."""
        due = [one for one in self._lanes if self._lanes[one].waiting and self._due(self._lanes[one]) <= now_ms]
        if not due:
            return None
        lookahead = min(due, key=lambda one: next(iter(self._lanes[one].waiting.values())))
        waiting = self._lanes[lookahead].waiting
        sessions = tuple(waiting)[: self._largest]
        for session in sessions:
            del waiting[session]
        return Batch(lookahead, sessions)

    def _dues(self) -> list[float]:
        return [self._due(lane) for lane in self._lanes.values() if lane.waiting]

    def _due(self, lane: _Lane) -> float:
        return lane.due_ms(max_wait_ms=self._max_wait_ms, largest=self._largest)
