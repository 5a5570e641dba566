"""How long to wait before trying again: exponential, with jitter so that a thousand sessions do not return as one."""

import random
from collections.abc import Callable
from typing import Final

RANDOM: Final[random.Random] = random.SystemRandom()

FIRST_SECONDS: Final = 0.1
LAST_SECONDS: Final = 5.0


class Backoff:
    """Waits that double from ``first`` to ``last`` seconds, each shortened by up to half: ``chance`` is from [0, 1)."""

    def __init__(
        self, *, first: float = FIRST_SECONDS, last: float = LAST_SECONDS, chance: Callable[[], float] = RANDOM.random
    ) -> None:
        self._first = first
        self._last = last
        self._chance = chance
        self._next = first

    def next_seconds(self) -> float:
        """Return the next wait."""
        wait = self._next * (0.5 + 0.5 * self._chance())
        self._next = min(self._last, self._next * 2)
        return wait

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._next = self._first
