"""Which count of sessions to measure next: growth, then bisection, and a second look before anything counts.

A count that fails is measured again and fails only when it does so twice, because a machine has hiccups of its own. The
count the search ends at is measured once more, because the highest that passed is the one that was luckiest.
"""

from typing import Final

GROWTH: Final = 2


class Search:
    """Ask ``level``, measure that many sessions, ``record`` whether the target was met, until ``level`` is None.

    Args:
        ceiling: the most sessions that may be tried.
        start: the first count.
        resolution: how exact the answer has to be, as a share of it; never below one session.

    """

    def __init__(self, *, ceiling: int, start: int = 1, resolution: float = 0.03) -> None:
        self._ceiling = ceiling
        self._start = min(start, ceiling)
        self._resolution = resolution
        self._met: set[int] = set()
        self._confirmed: set[int] = set()
        self._lowest_failed = ceiling + 1
        self._failed_once = False
        self.level: int | None = self._start

    @property
    def capacity(self) -> int:
        """The highest count that met the target so far, below every count that did not; 0 when none did."""
        return max(self._met, default=0)

    @property
    def is_at_ceiling(self) -> bool:
        """Whether nothing above the answer failed: the bound of the search is what limits it."""
        return self.capacity == self._ceiling

    def record(self, *, met: bool) -> None:
        """Take the measurement of ``level``. Raises ValueError when there is none to take."""
        level = self.level
        if level is None:
            raise ValueError("the search is over: expected no further measurement")
        if met:
            if level in self._met:
                self._confirmed.add(level)
            self._met.add(level)
            self._failed_once = False
        elif not self._failed_once:
            self._failed_once = True
            return
        else:
            self._failed_once = False
            self._lowest_failed = level
            self._met = {count for count in self._met if count < level}
        self.level = self._next()

    def _next(self) -> int | None:
        good, bad = self.capacity, self._lowest_failed
        if bad > self._ceiling and good < self._ceiling:
            return min(self._ceiling, good * GROWTH) if good else self._start
        if bad - good > max(1, int(good * self._resolution)) and good < self._ceiling:
            return (good + bad) // 2
        return None if good == 0 or good in self._confirmed else good
