"""How much audio one message may hold: ``reference/assemblyai-protocol.md`` 8."""

from streamstack_gateway.errors import audio_duration

FRAME_MS_MIN = 50
FRAME_MS_MAX = 1000

SHORT_RUN_MS = 980
"""Consecutive short messages that end a session, in audio time: "about 49 frames of 20 ms" on the hosted service.

Real clients send single short ones: LiveKit at a flush, Pipecat before ``Terminate``, every file reader at the end.
"""


class FrameRules:
    """One session's messages. ``short_run_ms`` None tolerates short messages for ever."""

    __slots__ = ("_limit_ms", "_run_ms")

    def __init__(self, short_run_ms: float | None = SHORT_RUN_MS) -> None:
        self._limit_ms = float("inf") if short_run_ms is None else short_run_ms
        self._run_ms = 0.0

    def check(self, duration_ms: float) -> None:
        """Check the next message. Raises SessionError 3007 when it is too long, or ends a run of too short ones.

        An empty message holds no audio and is no frame: it neither lengthens nor breaks a run.
        """
        if duration_ms >= FRAME_MS_MIN:
            if duration_ms > FRAME_MS_MAX:
                raise audio_duration(duration_ms)
            self._run_ms = 0.0
        elif duration_ms > 0:
            self._run_ms += duration_ms
            if self._run_ms >= self._limit_ms:
                raise audio_duration(duration_ms)
