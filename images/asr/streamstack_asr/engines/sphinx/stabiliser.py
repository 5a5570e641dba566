"""Decides when a word of a changing hypothesis is final. Pure; positions are samples.

29 % of pocketsphinx's hypotheses, taken every 100 ms, rewrite earlier text (measured). A word becomes final when it
stood unchanged for some hypotheses, ended long enough ago and is followed by another word or a long silence; from then
on later hypotheses are cut to what lies behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamstack_asr.engines.base import Word

_UNCHANGED_HYPOTHESES: Final = 3
_HELD_BACK_SAMPLES: Final = 9_600  # 600 ms: nine of ten words never change after that (measured)
_LAST_WORD_HELD_BACK_SAMPLES: Final = 16_000
_SAME_TIME_SAMPLES: Final = 800
_SHORTEST_WORD_SAMPLES: Final = 160  # one decoder frame


@dataclass(frozen=True, slots=True)
class Guess:
    """A word as the decoder sees it now."""

    text: str
    start_sample: int
    end_sample: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Words behind those sent as final earlier: newly final ones, then tentative ones."""

    words_before: int
    words: tuple[Word, ...]


class Stabiliser:
    """One turn's words."""

    def __init__(self, turn_start_sample: int) -> None:
        """Words are kept at or behind ``turn_start_sample``."""
        self.finals: list[Word] = []
        self._start = turn_start_sample
        self._unchanged: list[tuple[Guess, int]] = []

    @property
    def cut(self) -> int:
        """End of the last final word; the turn's start when there is none."""
        return self.finals[-1].end_sample if self.finals else self._start

    def read(self, guesses: Sequence[Guess], through_sample: int, *, freeze: bool = True) -> Reading:
        """Take the hypothesis at ``through_sample`` (ordered by time); ``freeze`` false holds every word back."""
        before = len(self.finals)
        tail = self.behind_cut(guesses)
        self._count_unchanged(tail)
        new = self._count_final(through_sample) if freeze else 0
        words = tuple(_word(guess, final=index < new) for index, guess in enumerate(tail))
        self.finals += words[:new]
        del self._unchanged[:new]
        return Reading(before, words)

    def finish(self, guesses: Sequence[Guess], through_sample: int) -> Reading:
        """Take the finished utterance: words that start before ``through_sample`` complete the turn, all final.

        Finals that start at or behind it are withdrawn: they belong to the next turn, which reports them again.
        """
        self.finals = [word for word in self.finals if word.start_sample < through_sample]
        before = len(self.finals)
        words = tuple(_word(guess, final=True) for guess in self.behind_cut(guesses))
        self.finals += (word for word in words if word.start_sample < through_sample)
        return Reading(before, tuple(self.finals[before:]))

    def forget_candidates(self) -> None:
        """Count from none again, as the decoder starts anew."""
        self._unchanged.clear()

    def behind_cut(self, guesses: Sequence[Guess]) -> list[Guess]:
        """The guesses behind the last final word, made not to overlap it nor each other, none of zero length.

        A guess lies behind when its middle does; one that reaches back into the last final word with the same text is
        that word once more.
        """
        cut = edge = self.cut
        unseen = self.finals[-1].text if self.finals else None  # at most one guess is the last final word once more
        tail: list[Guess] = []
        for guess in guesses:
            if guess.start_sample < cut:
                same = guess.text == unseen and guess.end_sample > self.finals[-1].start_sample
                unseen = None if same else unseen
                if same or guess.start_sample + guess.end_sample < 2 * cut:
                    continue
            start = max(guess.start_sample, edge)
            end = max(guess.end_sample, start + _SHORTEST_WORD_SAMPLES)
            tail.append(Guess(guess.text, start, end, guess.confidence))
            edge = end
        return tail

    def _count_unchanged(self, tail: list[Guess]) -> None:
        earlier = self._unchanged
        self._unchanged = []
        for index, guess in enumerate(tail):
            count = earlier[index][1] if index < len(earlier) and _same(earlier[index][0], guess) else 0
            self._unchanged.append((guess, count + 1))

    def _count_final(self, through_sample: int) -> int:
        last = len(self._unchanged) - 1
        for index, (guess, count) in enumerate(self._unchanged):
            held_back = _LAST_WORD_HELD_BACK_SAMPLES if index == last else _HELD_BACK_SAMPLES
            if count < _UNCHANGED_HYPOTHESES or guess.end_sample + held_back > through_sample:
                return index
        return last + 1


def _same(one: Guess, other: Guess) -> bool:
    return (
        one.text == other.text
        and abs(one.start_sample - other.start_sample) <= _SAME_TIME_SAMPLES
        and abs(one.end_sample - other.end_sample) <= _SAME_TIME_SAMPLES
    )


def _word(guess: Guess, *, final: bool) -> Word:
    return Word(guess.text, guess.start_sample, guess.end_sample, guess.confidence, final)
