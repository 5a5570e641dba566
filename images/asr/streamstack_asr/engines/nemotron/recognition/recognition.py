"""One session's decoding as the contract wants it: a hypothesis a step, turns that end where they were told to.

Words are only ever appended, since a greedy RNN-T never rewrites what it emitted: all but the last are final.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamstack_asr.engines.base import EngineEvent, Hypothesis, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES, SAMPLE_RATE
from streamstack_asr.engines.nemotron.pieces import Pieces
from streamstack_asr.engines.nemotron.recognition.repeats import Repeats
from streamstack_asr.engines.nemotron.recognition.tokens import Step, Token
from streamstack_asr.engines.nemotron.recognition.words import SHORTEST_SAMPLES, WordAssembler
from streamstack_asr.engines.nemotron.timing import Timing

FLUSH_SAMPLES: Final = 6 * FRAME_SAMPLES
"""Silence that a turn's end is decoded with: the last piece of a word comes up to 480 ms after its voice has ended."""
UNSETTLED_SAMPLES: Final = 12 * FRAME_SAMPLES
"""A word that began within the last 960 ms may not have shown its first piece."""
KEPT_SAMPLES: Final = 30 * SAMPLE_RATE
"""Steps are kept for turns that end behind them; the server's window is 10 s, and its gateway is not slower."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a step left behind: the next turn's hypotheses begin where the last one ended."""

    through: int
    closed: int
    tentative: Word | None
    last_end: int
    speech: tuple[float, ...]


class Recognition:
    """See the module. ``timing`` is that of the session's lane."""

    def __init__(self, start: SessionStart, *, pieces: Pieces, timing: Timing) -> None:
        self._pieces = pieces
        self._turn_id = start.turn_id
        self._turn_start = start.turn_start_sample
        self._context_until = start.turn_start_sample
        self._decoded_through = start.first_sample
        self._assembler = WordAssembler(timing, not_before=start.first_sample)
        self._repeats = Repeats()
        self._closed: list[Word] = []
        self._sent = 0
        self._last_end = start.turn_start_sample
        self._seen: deque[_Seen] = deque()
        self._language = ""
        self._language_confidence = 0.0

    def step(self, step: Step) -> list[EngineEvent]:
        """Take a step; one hypothesis."""
        self._decoded_through = step.through_sample
        for token in step.tokens:
            word = self._feed(self._assembler, token)
            if word is not None:
                self._close(word)
        self._seen.append(self._snapshot(step))
        while self._seen[0].through < step.through_sample - KEPT_SAMPLES:
            self._seen.popleft()
        return [self._hypothesis(self._seen[-1])]

    def flush_through(self, through_sample: int) -> int | None:
        """How far a copy has to decode, with silence behind ``through_sample``, before a turn can end there.

        None: the stream has come far enough itself.
        """
        wanted = through_sample + FLUSH_SAMPLES
        return None if self._decoded_through >= wanted else wanted

    def end_turn(self, turn_id: int, through_sample: int, flushed: Iterable[Token] = ()) -> list[EngineEvent]:
        """End the open turn. ``flushed`` are the tokens of the copy, behind those of the last step."""
        words = [word for word in self._closed if word.start_sample < through_sample]
        unclosed = [word for word in self._at_the_end(flushed) if word.start_sample < through_sample]
        ours = words.copy()
        for word in unclosed:
            ours.append(self._placed(word, behind=ours))
        before = min(self._sent, len(words))
        events: list[EngineEvent] = [
            FinalWords(turn_id, before, tuple(ours[before:]), self._language, self._language_confidence),
            TurnEnded(turn_id, through_sample),
        ]
        self._repeats.expect(unclosed, through_sample)
        self._closed = self._closed[len(words) :]
        self._sent = 0
        self._turn_id = turn_id + 1
        self._turn_start = through_sample
        self._last_end = max(self._last_end, through_sample)
        self._seen = deque(
            _behind(seen, through_sample, len(words)) for seen in self._seen if seen.through > through_sample
        )
        events.extend(self._hypothesis(seen) for seen in self._seen)
        return events

    def _feed(self, assembler: WordAssembler, token: Token) -> Word | None:
        piece = self._pieces.piece(token.token)
        if piece.language:
            self._language, self._language_confidence = piece.language, min(1.0, math.exp(token.log_probability))
        return assembler.feed(token, piece) if piece.text else None

    def _close(self, word: Word) -> None:
        if not self._is_context(word) and not self._repeats.take(word):
            self._closed.append(self._placed(word, behind=self._closed))

    def _is_context(self, word: Word) -> bool:
        return word.start_sample < self._context_until

    def _placed(self, word: Word, *, behind: Sequence[Word]) -> Word:
        """The word after those before it; one that only the stream found comes after its own turn has ended."""
        start = max(word.start_sample, self._turn_start, behind[-1].end_sample if behind else 0)
        if start == word.start_sample:
            return word
        return replace(word, start_sample=start, end_sample=max(word.end_sample, start + SHORTEST_SAMPLES))

    def _at_the_end(self, flushed: Iterable[Token]) -> list[Word]:
        """The words that the stream has not closed, as they stand with what the flush found."""
        assembler, repeats = self._assembler.fork(), self._repeats.fork()
        found = [self._feed(assembler, token) for token in flushed]
        words = [word for word in (*found, assembler.finish()) if word is not None]
        return [word for word in words if not self._is_context(word) and not repeats.take(word)]

    def _snapshot(self, step: Step) -> _Seen:
        tentative = None
        last_end = max(self._last_end, self._closed[-1].end_sample if self._closed else 0)
        known = self._assembler.open
        if known is not None and not known.is_blank:
            last_end = max(last_end, known.end)
            own = known.start >= max(self._context_until, self._turn_start)
            if own and not self._repeats.may_be(known.start):
                tentative = self._placed(known.word(is_final=False), behind=self._closed)
        self._last_end = last_end
        return _Seen(step.through_sample, len(self._closed), tentative, last_end, step.speech)

    def _hypothesis(self, seen: _Seen) -> Hypothesis:
        words = self._closed[self._sent : seen.closed]
        before, self._sent = self._sent, max(self._sent, seen.closed)
        unsettled = seen.through - UNSETTLED_SAMPLES
        if seen.tentative is not None:
            words.append(seen.tentative)
            unsettled = min(unsettled, seen.tentative.start_sample)
        return Hypothesis(
            turn_id=self._turn_id,
            through_sample=seen.through,
            stable_through_sample=max(0, self._turn_start, unsettled),
            words_before=before,
            words=tuple(words),
            speech_probability=max(seen.speech, default=0.0),
            trailing_silence_ms=max(0, seen.through - seen.last_end) * 1000 // SAMPLE_RATE,
            language=self._language,
            language_confidence=self._language_confidence,
            speech_profile=seen.speech,
        )


def _behind(seen: _Seen, through_sample: int, ended: int) -> _Seen:
    """The step as the next turn sees it, after ``ended`` closed words of this one."""
    tentative = seen.tentative
    if tentative is not None and tentative.start_sample < through_sample:
        tentative = None
    windows = -(-(seen.through - through_sample) // 512)
    return _Seen(
        seen.through, max(0, seen.closed - ended), tentative, max(seen.last_end, through_sample), seen.speech[-windows:]
    )
