"""Words that come again: a flushed turn end was decoded with silence behind it, and then the audio itself goes on.

The words of the flush are in the ended turn. The stream finds them once more, perhaps a frame earlier or later, perhaps
with another mark or a better last piece. A word that only the stream finds is new.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from streamstack_asr.engines.base import Word
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES

TOLERANCE_SAMPLES: Final = 4 * FRAME_SAMPLES
"""How far the times of one word may lie apart in two decodings: 320 ms, a piece that waited for another chunk."""


class Repeats:
    """The words of ended turns that are still to come again."""

    def __init__(self) -> None:
        self._expected: deque[Word] = deque()
        self._cut = 0

    def fork(self) -> "Repeats":
        """Return a copy, to ask without taking anything from this one."""
        other = Repeats()
        other.expect(self._expected, self._cut)
        return other

    def expect(self, words: Iterable[Word], cut: int) -> None:
        """A turn ended at the sample ``cut`` with ``words`` that the stream has not closed yet."""
        self._expected.extend(words)
        self._cut = cut

    def may_be(self, start_sample: int) -> bool:
        """Tell whether a word that starts there may be one of those expected, before its text is known."""
        return bool(self._expected) and start_sample < self._cut + TOLERANCE_SAMPLES

    def take(self, word: Word) -> bool:
        """Tell whether ``word`` was in an ended turn; it is not expected again then, nor is any before it."""
        if not self.may_be(word.start_sample):
            self._expected.clear()  # the stream is past the cut: what did not come again will not
            return False
        for count, expected in enumerate(self._expected, 1):
            if _same(word, expected, cut=self._cut):
                for _ in range(count):
                    self._expected.popleft()
                return True
        return False


def _same(word: Word, expected: Word, *, cut: int) -> bool:
    if abs(word.start_sample - expected.start_sample) <= TOLERANCE_SAMPLES:
        now, then = _spoken(word), _spoken(expected)
        # The cut may have gone through it: then only its beginning was heard.
        if now == then or (word.start_sample <= cut + FRAME_SAMPLES and now.startswith(then)):
            return True
    # Heard differently with the audio behind it: it cannot be another word at the same time.
    common = min(word.end_sample, expected.end_sample) - max(word.start_sample, expected.start_sample)
    shorter = min(word.end_sample - word.start_sample, expected.end_sample - expected.start_sample)
    return word.start_sample < cut and 2 * common >= shorter


def _spoken(word: Word) -> str:
    """The text without case and marks."""
    return "".join(letter for letter in word.text.casefold() if letter.isalnum()) or word.text
