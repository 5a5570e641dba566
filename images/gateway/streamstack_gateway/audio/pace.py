"""How fast a session's audio may reach the engines: in real time, a little faster after a burst.

The hosted service throttles to about 1.25 times real time instead of refusing, and lets bursts of seconds pass
(``reference/assemblyai-protocol.md`` 8). What has to wait stays in the session's buffer, whose limit is the session's.
"""

from streamstack_common.contracts.rpc import SAMPLE_RATE

BURST_SECONDS = 10.0
RATE = 1.25


class Pace:
    """A token bucket of audio, full at the start.

    Samples are at 16 kHz; ``now_seconds`` is any clock that does not go back.
    """

    __slots__ = ("_burst", "_filled_at", "_rate", "_released", "_tokens")

    def __init__(self, burst_seconds: float = BURST_SECONDS, rate: float = RATE) -> None:
        self._burst = burst_seconds * SAMPLE_RATE
        self._rate = rate * SAMPLE_RATE
        self._tokens = self._burst
        self._filled_at: float | None = None
        self._released = 0

    def released(self, end_sample: int, now_seconds: float) -> int:
        """Up to where audio may go now, of the audio that has come up to ``end_sample``; never less than before."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now_seconds - self._filled_at) * self._rate)
        self._filled_at = now_seconds
        take = min(end_sample - self._released, int(self._tokens))
        if take > 0:
            self._tokens -= take
            self._released += take
        return self._released

    def release_all(self, end_sample: int) -> None:
        """Audio up to there goes at once (a forced end of turn); what that takes beyond the bucket is owed."""
        if end_sample > self._released:
            self._tokens -= end_sample - self._released
            self._released = end_sample
