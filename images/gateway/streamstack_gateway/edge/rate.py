"""How many messages a client may send: far more than any needs, too few to keep the others waiting. Pure."""

from typing import Final

MESSAGES_PER_SECOND: Final = 200
"""Real clients send 10 to 50 audio messages a second, and some text."""

BURST_MESSAGES: Final = 1_000
"""A recording of a minute and a half in pieces of 100 ms may come at once."""


class MessageRate:
    """A token bucket, full at the start; refilled only when it is empty, because it hardly ever is."""

    __slots__ = ("_filled_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens: float = BURST_MESSAGES
        self._filled_at = now

    def spend(self, messages: int, now: float) -> float:
        """Count messages that were handled; answers for how many seconds the next ones have to wait."""
        self._tokens -= messages
        if self._tokens >= 0:
            return 0.0
        self._tokens = min(BURST_MESSAGES, self._tokens + (now - self._filled_at) * MESSAGES_PER_SECOND)
        self._filled_at = now
        return max(0.0, -self._tokens / MESSAGES_PER_SECOND)
