"""What a worker counts of its own work, and whether it is more than it can do. Pure.

A chunk waits from when its audio is whole to when its step begins. Sessions are owed real time and no more: audio that
comes in a burst (a replay, a recording) is due as if it came at that pace, else every hand-over and every file sent at
once would look like overload.
"""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)

SPAN_MS: Final = 1_000.0
SPANS: Final = 5
"""The share of late chunks is that of the last 5 s: enough for some hundred chunks, short for who is turned away."""
LATE_SHARE: Final = 0.05
"""A 95th percentile above one chunk is what makes a worker overloaded; it is well again below half a chunk."""
LEAST_LATE: Final = 5
"""So that a stall of the machine, which makes a chunk or two of a few sessions late, decides nothing."""


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound, the last of what is above all of them, and their sum."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Overload:
    """Whether more than one chunk in twenty begins later than a chunk after its audio came."""

    def __init__(self) -> None:
        self.now = False
        self._spans: deque[list[int]] = deque(([0, 0, 0] for _ in range(SPANS)), maxlen=SPANS)
        self._span_ends_ms = 0.0

    def observe(self, *, wait_ms: float, chunk_ms: float) -> None:
        """Count one chunk's wait."""
        span = self._spans[-1]
        span[0] += 1
        span[1] += wait_ms > chunk_ms
        span[2] += wait_ms > chunk_ms / 2

    def tick(self, now_ms: float) -> bool:
        """Look again when a second is over; tells whether it is overloaded."""
        if now_ms >= self._span_ends_ms:
            self._span_ends_ms = now_ms + SPAN_MS
            chunks, late, half = (sum(span[index] for span in self._spans) for index in range(3))
            limit = LATE_SHARE * chunks
            self.now = half > limit if self.now else late > limit and late >= LEAST_LATE
            self._spans.append([0, 0, 0])
        return self.now


class Load:
    """All that one worker counts since it began."""

    def __init__(self) -> None:
        self.overload = Overload()
        self._wait: dict[int, Histogram] = {}
        self._step: dict[int, Histogram] = {}
        self._rows = Histogram(ROWS)

    def stepped(self, *, chunk_ms: int, rows: int, step_ms: float) -> None:
        """Count one step of a lane."""
        self._step.setdefault(chunk_ms, Histogram(SECONDS)).observe(step_ms / 1_000)
        self._rows.observe(rows)

    def waited(self, *, chunk_ms: int, wait_ms: float) -> None:
        """Count one chunk that waited."""
        self._wait.setdefault(chunk_ms, Histogram(SECONDS)).observe(wait_ms / 1_000)
        self.overload.observe(wait_ms=wait_ms, chunk_ms=chunk_ms)

    def report(self, *, sessions: int) -> dict[str, Any]:
        """Everything, for JSON: histograms by name and chunk in ms as ``[counts, sum]``."""
        return {
            "sessions": sessions,
            "overloaded": self.overload.now,
            "chunk_wait": {str(chunk): [one.counts, one.total] for chunk, one in self._wait.items()},
            "step": {str(chunk): [one.counts, one.total] for chunk, one in self._step.items()},
            "batch": [self._rows.counts, self._rows.total],
        }
