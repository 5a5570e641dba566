"""What a speaker of ten-word turns would make an engine report, at the least possible cost.

Every 160 ms of audio are a step and, while the turn is spoken, a word; the content of the audio is not looked at.
"""

from typing import Final

from streamstack_asr.engines.base import (
    Emit,
    EngineDescription,
    EngineError,
    EngineSession,
    Hypothesis,
    SessionConfig,
    SessionStart,
    SteadyEngine,
    Transcript,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE, ms_to_samples

CHUNK_MS: Final = 160
CHUNK_SAMPLES: Final = ms_to_samples(CHUNK_MS)
TURN_WORDS: Final = ("we", "hold", "these", "truths", "to", "be", "self", "evident", "and", "plain")
CONFIDENCE: Final = 0.9


class NullEngine(SteadyEngine):
    """Hands out sessions that speak of nothing."""

    def __init__(self, models: tuple[str, ...]) -> None:
        self._description = EngineDescription(
            engine="null", models=models, chunk_ms=CHUNK_MS, left_context_ms=0, languages=("en",)
        )

    def describe(self) -> EngineDescription:
        """Chunks of 160 ms, no context, no batch mode."""
        return self._description

    def prepare(self) -> None:
        """Nothing to do."""

    async def start(self) -> None:
        """Nothing to load."""

    def open(self, start: SessionStart, emit: Emit) -> EngineSession:
        """Begin a session; never fails."""
        return NullSession(start, emit)

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        """Raise EngineError: there is no batch mode."""
        raise EngineError("engine 'null' has no batch mode: expected streaming sessions only")

    async def stop(self) -> None:
        """Nothing to end."""


class NullSession:
    """One session: ten words, then silence until the turn is ended, then ten words again."""

    __slots__ = ("_chunk_start", "_emit", "_pending", "_sent_final", "_silence_ms", "_turn_id", "_turn_start", "_words")

    def __init__(self, start: SessionStart, emit: Emit) -> None:
        self._emit: Emit | None = emit
        self._turn_id = start.turn_id
        self._turn_start = start.turn_start_sample
        self._chunk_start = start.first_sample
        self._pending = 0
        self._silence_ms = 0
        self._words: list[Word] = []
        self._sent_final = 0

    def push(self, pcm: bytes) -> None:
        """Count the samples; one Hypothesis for every whole chunk."""
        self._pending += len(pcm) // BYTES_PER_SAMPLE
        while self._pending >= CHUNK_SAMPLES and self._emit is not None:
            self._pending -= CHUNK_SAMPLES
            self._step(self._emit)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """Complete the turn with its words that start before ``through_sample``; later ones begin the next."""
        if self._emit is None:
            return
        ours = [word for word in self._words if word.start_sample < through_sample]
        before = min(self._sent_final, len(ours))
        self._emit(FinalWords(turn_id, before, tuple(_finished(word) for word in ours[before:])))
        self._emit(TurnEnded(turn_id, through_sample))
        self._words = self._words[len(ours) :]
        self._sent_final = 0
        self._silence_ms = 0
        self._turn_id = turn_id + 1
        self._turn_start = max(self._turn_start, through_sample)
        if self._chunk_start > through_sample:
            self._emit(self._hypothesis(self._chunk_start, speaking=False))

    def update(self, config: SessionConfig) -> None:
        """Nothing here can be configured."""

    def close(self) -> None:
        """Say nothing from here on."""
        self._emit = None

    def _step(self, emit: Emit) -> None:
        start = self._chunk_start
        end = self._chunk_start = start + CHUNK_SAMPLES
        words = self._words
        if words and not words[-1].is_final:
            words[-1] = _finished(words[-1])
        count = len(words)
        context = end <= self._turn_start
        speaking = count < len(TURN_WORDS) and not context
        if speaking:
            words.append(Word(TURN_WORDS[count], max(start, self._turn_start), end, CONFIDENCE, False))
        elif not context:
            self._silence_ms += CHUNK_MS
        emit(self._hypothesis(end, speaking=speaking))

    def _hypothesis(self, through: int, *, speaking: bool) -> Hypothesis:
        words = self._words
        before = self._sent_final
        self._sent_final = len(words) - (bool(words) and not words[-1].is_final)
        return Hypothesis(
            turn_id=self._turn_id,
            through_sample=through,
            stable_through_sample=words[-1].start_sample if words and not words[-1].is_final else through,
            words_before=before,
            words=tuple(words[before:]),
            speech_probability=1.0 if speaking else 0.0,
            trailing_silence_ms=self._silence_ms,
        )


def _finished(word: Word) -> Word:
    if word.is_final:
        return word
    return Word(word.text, word.start_sample, word.end_sample, word.confidence, True)
