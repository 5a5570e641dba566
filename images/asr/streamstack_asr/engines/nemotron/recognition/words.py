"""Words out of tokens: one at a time, in order, never overlapping, never without a length."""

import math
from dataclasses import dataclass, field
from typing import Final

from streamstack_asr.engines.base import Word
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES
from streamstack_asr.engines.nemotron.pieces import Piece
from streamstack_asr.engines.nemotron.recognition.tokens import Token
from streamstack_asr.engines.nemotron.timing import Timing

SHORTEST_SAMPLES: Final = 640
"""No word is shorter than 40 ms, half a frame: two words on one frame are told apart."""


@dataclass(slots=True)
class OpenWord:
    """A word that may still grow. ``start`` is fixed; ``end`` moves with its last piece."""

    start: int
    end: int
    text: bytearray = field(default_factory=bytearray)
    log_probabilities: list[float] = field(default_factory=list)

    @property
    def is_blank(self) -> bool:
        """Whether no letter was heard yet: a lone word mark comes before its first letter."""
        return not self.text.strip()

    def word(self, *, is_final: bool, before: int | None = None) -> Word:
        """The word as it stands; it ends at ``before`` at the latest, if that leaves it a length."""
        end = self.end if before is None else max(min(self.end, before), self.start + SHORTEST_SAMPLES)
        # The mean, since a word of many pieces is not less sure than one of a single piece.
        confidence = math.exp(sum(self.log_probabilities) / len(self.log_probabilities))
        text = self.text.decode("utf-8", errors="replace").strip()
        return Word(text, self.start, end, min(1.0, confidence), is_final)


class WordAssembler:
    """Takes tokens in order; a word is closed by the first piece of the next one, or by ``finish``."""

    def __init__(self, timing: Timing, *, not_before: int) -> None:
        """No word starts before the sample ``not_before``."""
        self._timing = timing
        self._floor = not_before
        self.open: OpenWord | None = None

    def feed(self, token: Token, piece: Piece) -> Word | None:
        """Take a token; the word that it closes, if any."""
        closed = None
        start = max(token.sample - self._timing.start_delay_samples, self._floor)
        if self.open is None or (piece.begins_word and not piece.is_punctuation):
            if self.open is not None and not self.open.is_blank:
                closed = self.open.word(is_final=True, before=start)
                self._floor = closed.end_sample
                start = max(start, self._floor)
            self.open = OpenWord(start, start + SHORTEST_SAMPLES)
        word = self.open
        word.text += piece.text
        word.log_probabilities.append(token.log_probability)
        if not piece.is_punctuation:
            # A mark may be emitted long after the voice has ended.
            word.end = max(word.end, token.sample + FRAME_SAMPLES // 2 - self._timing.end_delay_samples)
        return closed

    def finish(self) -> Word | None:
        """Close the open word; what follows begins another."""
        known, self.open = self.open, None
        if known is None or known.is_blank:
            return None
        word = known.word(is_final=True)
        self._floor = word.end_sample
        return word

    def fork(self) -> "WordAssembler":
        """Return an assembler that goes on from here and leaves this one as it is."""
        other = WordAssembler(self._timing, not_before=self._floor)
        if self.open is not None:
            known = self.open
            other.open = OpenWord(known.start, known.end, bytearray(known.text), list(known.log_probabilities))
        return other
