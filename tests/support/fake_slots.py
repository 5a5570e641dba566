"""A model that "hears" the sample in the middle of every 80 ms frame as a token, and what a worker needs around it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamstack_asr.engines.base import (
    EngineEvent,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.nemotron.config import WorkerConfig
from streamstack_asr.engines.nemotron.recognition.tokens import Step, Token
from streamstack_asr.engines.nemotron.worker.machinery import Asked, Machinery, Samples

FRAME = 1_280
FLUSH_SAMPLES = 2 * FRAME


@dataclass(frozen=True)
class FakeToken:
    token: int
    frame: int
    log_probability: float = -0.1


@dataclass(frozen=True)
class FakeRow:
    tokens: tuple[FakeToken, ...]
    blank_posteriors: tuple[float, ...]


@dataclass
class Slot:
    """What a slot remembers: all the audio it heard, and how it was configured."""

    heard: list[int] = field(default_factory=list)
    frames: int = 0
    terms: tuple[tuple[int, ...], ...] = ()
    prompt: int | None = None


class FakeModel:
    """Steps take no time unless ``step_seconds``; ``batches`` has the slots of every one."""

    def __init__(self, slots: int, *, spare_slots: int = 2, step_seconds: float = 0.0) -> None:
        self.spare_slots = spare_slots
        self.slots = [Slot() for _ in range(slots + spare_slots)]
        self.batches: list[tuple[int, ...]] = []
        self._step_seconds = step_seconds

    def reset(self, slot: int) -> None:
        self.slots[slot] = Slot()

    def copy(self, source: int, target: int) -> None:
        one = self.slots[source]
        self.slots[target] = Slot(list(one.heard), one.frames, one.terms, one.prompt)

    def set_prompt(self, slot: int, prompt: int) -> None:
        self.slots[slot].prompt = prompt

    def set_keyterms(self, slot: int, terms: Sequence[tuple[int, ...]]) -> None:
        self.slots[slot].terms = tuple(terms)

    def step(self, lookahead: int, slots: Sequence[int], audio: Samples) -> list[FakeRow]:
        assert audio.shape == (len(slots), FRAME * (lookahead + 1))
        assert len(set(slots)) == len(slots)
        self.batches.append(tuple(slots))
        time.sleep(self._step_seconds)
        return [self._row(lookahead, self.slots[slot], row) for slot, row in zip(slots, audio, strict=True)]

    def _row(self, lookahead: int, slot: Slot, audio: Samples) -> FakeRow:
        needed = FRAME * (lookahead + 1) if slot.heard else FRAME * lookahead + 256
        slot.heard += audio[len(audio) - needed :].tolist()
        tokens = []
        for frame in range(lookahead + 1):
            value = slot.heard[FRAME * (slot.frames + frame)]
            if value:
                tokens.append(FakeToken(value, frame))
        slot.frames += lookahead + 1
        return FakeRow(tuple(tokens), (0.5,) * (lookahead + 1))


class FakeDetector:
    """Says how many samples it was given, for each slot, as a probability in ten-thousandths."""

    def reset(self, slot: int) -> None: ...

    def probabilities(self, rows: Sequence[tuple[int, Samples]]) -> list[tuple[float, ...]]:
        return [(len(pcm) / 100_000,) for _, pcm in rows]


class FakeRecogniser:
    """A word for every token, final at once; keeps every step, and what a flush found."""

    def __init__(self, start: SessionStart) -> None:
        self.start = start
        self.steps: list[Step] = []
        self.flushed: dict[int, tuple[Token, ...]] = {}
        self._through = start.first_sample
        self._turn = start.turn_id
        self._words: list[Word] = []
        self._sent = 0

    def step(self, step: Step) -> list[EngineEvent]:
        self.steps.append(step)
        self._through = step.through_sample
        before, self._sent = self._sent, self._sent + len(step.tokens)
        words = tuple(word_of(token) for token in step.tokens)
        self._words += words
        profile = step.speech
        return [Hypothesis(self._turn, self._through, self._through, before, words, 0.0, 0, speech_profile=profile)]

    def flush_through(self, through_sample: int) -> int | None:
        wanted = through_sample + FLUSH_SAMPLES
        return None if self._through >= wanted else wanted

    def end_turn(self, turn_id: int, through_sample: int, flushed: tuple[Token, ...]) -> list[EngineEvent]:
        self.flushed[turn_id] = flushed
        before, self._sent, self._turn = self._sent, 0, turn_id + 1
        return [
            Final(turn_id, before, tuple(word_of(token) for token in flushed)),
            TurnEnded(turn_id, through_sample),
        ]


def word_of(token: Token) -> Word:
    return Word(f"w{token.token}", token.sample, token.sample + FRAME, 0.9, True)


def asked(config: SessionConfig) -> Asked:
    """Terms are spelt letter by letter, and a language is as long as its name."""
    return Asked(tuple(tuple(map(ord, term)) for term in config.keyterms), len(config.language) or None)


@dataclass
class FakeMachinery:
    """The parts of a machinery, each to be looked into."""

    model: FakeModel
    recognisers: list[FakeRecogniser] = field(default_factory=list)

    def made(self, *, slots: int, lookaheads: dict[str, int]) -> Machinery:
        return Machinery(
            model=self.model,
            detector=FakeDetector(),
            recogniser=self._recogniser,
            asked=asked,
            lookaheads=lookaheads,
            slots=slots,
            about={"device": "cpu", "precision": "fp32"},
        )

    def _recogniser(self, start: SessionStart, lookahead: int) -> FakeRecogniser:
        del lookahead
        self.recognisers.append(FakeRecogniser(start))
        return self.recognisers[-1]


def assemble(config: WorkerConfig, **options: Any) -> Machinery:
    """What a worker process with the fake model works with."""
    return FakeMachinery(FakeModel(config.slots, **options)).made(slots=config.slots, lookaheads=config.lookaheads)


def marked(frames: Sequence[int], *, tail: int = 0) -> bytes:
    """Audio with each of ``frames`` (0: silence) in the middle of its frame, and ``tail`` samples more."""
    pcm = np.zeros(FRAME * len(frames) + tail, np.int16)
    pcm[::FRAME][: len(frames)] = frames
    return pcm.tobytes()
