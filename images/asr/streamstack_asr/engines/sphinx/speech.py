"""Speech probability from yes-or-no frames, and where speech began and ended. Pure."""

from collections import deque
from collections.abc import Callable
from typing import Final

_WEIGHT: Final = 0.35
"""Share of a new 30 ms frame in the running probability: one frame alone makes 0.35, three in a row 0.73."""
_SPEECH: Final = 0.5
_KEEP_FRAMES: Final = 4_096  # two minutes: the longest utterance whose word ends are trimmed


class SpeechTrack:
    """Follows a session's audio once, in order; positions are samples of the session clock."""

    def __init__(self, *, first_sample: int, frame_samples: int, is_speech: Callable[[bytes], bool]) -> None:
        """``is_speech`` judges one frame of ``frame_samples`` 16-bit samples."""
        self.speech_since: int | None = None
        """Where the speech that is going on began; None in silence."""
        self.position = first_sample
        """Samples before this have been judged."""
        self._frame_samples = frame_samples
        self._is_speech = is_speech
        self._pending = bytearray()
        self._probability = 0.0
        self._highest = 0.0
        self._voiced: deque[int] = deque(maxlen=_KEEP_FRAMES)  # end positions of the frames that held speech

    def feed(self, pcm: bytes) -> None:
        """Judge the samples that follow; what does not fill a frame waits for the next call."""
        self._pending += pcm
        size = self._frame_samples * 2
        whole = len(self._pending) - len(self._pending) % size
        for offset in range(0, whole, size):
            self._judge(self._is_speech(bytes(self._pending[offset : offset + size])))
        del self._pending[:whole]

    def take_probability(self) -> float:
        """Highest smoothed probability since the last call; the running one when no frame was judged since."""
        highest, self._highest = max(self._highest, self._probability), 0.0
        return highest

    def last_speech_end(self, start_sample: int, end_sample: int) -> int | None:
        """End of the last frame with speech that ends within the span; None when there is none."""
        for end in reversed(self._voiced):
            if end <= start_sample:
                return None
            if end <= end_sample:
                return end
        return None

    def speech_samples_since(self, start_sample: int) -> int:
        """How many samples of speech lie behind ``start_sample``."""
        return sum(self._frame_samples for end in self._voiced if end > start_sample)

    def _judge(self, speech: bool) -> None:
        self.position += self._frame_samples
        self._probability += _WEIGHT * (float(speech) - self._probability)
        self._highest = max(self._highest, self._probability)
        if speech:
            self._voiced.append(self.position)
        if self._probability < _SPEECH:
            self.speech_since = None
        elif self.speech_since is None:
            self.speech_since = self.position - 2 * self._frame_samples  # it takes two frames to get here
