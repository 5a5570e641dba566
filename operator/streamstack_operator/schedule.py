"""When which key is due: the queue's rules, without a clock, a task or a lock in them.

A key is looked at by one pass at a time. What happens meanwhile makes it due once more, however often it happens; a
pass that fails makes it due later and later.
"""

import math
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

GAP_SECONDS: Final = 0.2
"""Between the end of a pass and one that something asked for: a rollout writes dozens of times within a second."""

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0
HURRIED_RETRY_SECONDS: Final = 5.0
"""The longest that somebody who may just have mended what failed has to wait for the next try."""

NEVER: Final = math.inf

Key = TypeVar("Key")


@dataclass(slots=True)
class Entry:
    """A key's state; times are seconds of the caller's monotonic clock."""

    due: float
    not_before: float = 0.0
    started: float | None = None
    woken: bool = False
    failures: int = 0

    def bring_forward(self, now: float) -> None:
        """Make it due as soon as it may be."""
        self.due = min(self.due, max(now, self.not_before))


class Schedule(Generic[Key]):
    """Keys and when they are due. ``now`` never goes back from one call to the next."""

    def __init__(self, *, gap_seconds: float = GAP_SECONDS, longest_retry_seconds: float = LONGEST_RETRY_SECONDS):
        self._gap_seconds = gap_seconds
        self._longest_retry_seconds = longest_retry_seconds
        self._entries: dict[Key, Entry] = {}

    def wake(self, key: Key, *, now: float) -> None:
        """Something happened that concerns ``key``: a pass that starts from now on has to see it."""
        entry = self._entries.setdefault(key, Entry(due=NEVER))
        if entry.started is not None:
            entry.woken = True
        else:
            entry.bring_forward(now)

    def start(self, *, now: float) -> Key | None:
        """Return the key that has been due for longest, which is looked at from now on; None while none is due."""
        waiting = [(entry.due, key) for key, entry in self._entries.items() if entry.started is None]
        due, key = min(waiting, key=lambda item: item[0], default=(NEVER, None))
        if key is None or due > now:
            return None
        entry = self._entries[key]
        entry.started, entry.woken = now, False
        return key

    def finish(self, key: Key, *, now: float, again_seconds: float) -> None:
        """A pass has ended well, and wants another one after ``again_seconds`` (infinite: none)."""
        entry = self._entries[key]
        entry.failures = 0
        self._end(key, due=now + again_seconds, not_before=now + self._gap_seconds, now=now)

    def fail(self, key: Key, *, now: float) -> float:
        """A pass has failed; returns the seconds until it is tried again."""
        entry = self._entries[key]
        entry.failures += 1
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(entry.failures - 1, 30), self._longest_retry_seconds)
        self._end(key, due=now + delay, not_before=now + min(delay, HURRIED_RETRY_SECONDS), now=now)
        return delay

    def abandon(self, key: Key, *, now: float) -> None:
        """A pass was broken off: it counts as not begun."""
        self._end(key, due=now, not_before=now, now=now)

    def failures(self, key: Key) -> int:
        """Return how many passes of a key failed since the last one that ended well."""
        return self._entries[key].failures if key in self._entries else 0

    def next_due(self) -> float:
        """Return when the next key is due that no pass looks at; infinite when none ever is."""
        return min((entry.due for entry in self._entries.values() if entry.started is None), default=NEVER)

    def late(self, *, now: float) -> tuple[Key, float] | None:
        """Return the key that has waited longest for the end of a pass that was due, and for how many seconds."""
        since = {
            key: entry.due if entry.started is None else entry.started
            for key, entry in self._entries.items()
            if entry.started is not None or entry.due <= now
        }
        if not since:
            return None
        key = min(since, key=lambda key: since[key])
        return key, now - since[key]

    def depth(self, *, now: float) -> int:
        """Return how many keys are due and wait for a worker."""
        return sum(entry.started is None and entry.due <= now for entry in self._entries.values())

    def _end(self, key: Key, *, due: float, not_before: float, now: float) -> None:
        entry = self._entries[key]
        entry.due, entry.not_before, entry.started = due, not_before, None
        if entry.woken:
            entry.woken = False
            entry.bring_forward(now)
        if entry.due == NEVER:
            del self._entries[key]
