"""One session in a worker: the audio that waits, where its slot is on the session's clock, and turns to be ended."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from streamstack_asr.engines.base import EngineEvent, SessionStart
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES, SAMPLE_RATE
from streamstack_asr.engines.nemotron.recognition.tokens import Step, Token
from streamstack_asr.engines.nemotron.worker.machinery import Recogniser, RowResult, Samples

_BYTES: Final = 2
FIRST_EXTRA: Final = 256
"""A mel frame reaches 256 samples beyond its centre, so the first step hears that much more than R frames."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a slot is: ``steps`` of ``lookahead`` + 1 frames each. Samples are counted from the session's first."""

    lookahead: int
    steps: int = 0

    @property
    def step_samples(self) -> int:
        """Samples of every step but the first."""
        return FRAME_SAMPLES * (self.lookahead + 1)

    @property
    def heard(self) -> int:
        """Samples heard so far."""
        return self.steps * self.step_samples - (FRAME_SAMPLES - FIRST_EXTRA if self.steps else 0)

    @property
    def needs(self) -> int:
        """Samples of the next step."""
        return self.step_samples if self.steps else self.step_samples - (FRAME_SAMPLES - FIRST_EXTRA)

    @property
    def frame(self) -> int:
        """Number of the next step's first frame; frame n is centred at sample n * 1280."""
        return self.steps * (self.lookahead + 1)

    def next(self) -> "Place":
        """Return the place one step on."""
        return replace(self, steps=self.steps + 1)


@dataclass(slots=True)
class Flush:
    """A turn's end that is being decoded on a copy of the slot, ``until`` (in samples of the session) it is."""

    turn_id: int
    through: int
    until: int
    place: Place
    tokens: list[Token] = field(default_factory=list)


class Session:
    """A session's rows in order: with real audio, or, at the end of a turn, with silence behind it on a copy.

    Positions it is told and tells are samples of the session's clock; times are ms.
    """

    def __init__(self, start: SessionStart, *, slot: int, lookahead: int, recogniser: Recogniser) -> None:
        self.slot = slot
        self.place = Place(lookahead)
        self.flush: Flush | None = None
        """Set while the next row is one of a copy."""
        self._first = start.first_sample
        self._recogniser = recogniser
        self._audio = bytearray()
        self._turns: deque[tuple[int, int]] = deque()
        self._dues: deque[float] = deque()
        self._whole = self.place.needs
        self._pushed = 0

    @property
    def chunk_ms(self) -> int:
        """Its step."""
        return self.place.step_samples * 1_000 // SAMPLE_RATE

    @property
    def has_row(self) -> bool:
        """Whether it can take a step now."""
        return self.flush is not None or self._has_audio

    def push(self, pcm: bytes, now_ms: float) -> None:
        """Take audio in."""
        self._audio += pcm
        self._pushed += len(pcm) // _BYTES
        while self._pushed >= self._whole:
            self._whole += self.place.step_samples
            pace = self._dues[-1] + self.chunk_ms if self._dues else now_ms
            self._dues.append(max(now_ms, pace))

    def end_turn(self, turn_id: int, through_sample: int) -> list[EngineEvent]:
        """End a turn, now or after the rows that takes."""
        self._turns.append((turn_id, through_sample))
        return self._settle()

    def row(self, target: Samples) -> Samples:
        """Write the next row's audio at the right of ``target`` (zeros); return the part written."""
        place = self.flush.place if self.flush else self.place
        part = target[len(target) - place.needs :]
        if self.flush is None:
            part[:] = np.frombuffer(self._audio[: place.needs * _BYTES], "<i2")
            return part
        begin = place.heard - self.place.heard
        end = min(self.flush.through - self._first - self.place.heard, begin + place.needs)
        if end > begin:  # what is left of the turn; behind it is silence
            part[: end - begin] = np.frombuffer(self._audio[begin * _BYTES : end * _BYTES], "<i2")
        return part

    def due_ms(self) -> float:
        """When the step that begins now was due. Once a row of real audio."""
        return self._dues.popleft()

    def stepped(self, result: RowResult, speech: tuple[float, ...]) -> list[EngineEvent]:
        """Take what a row of real audio found."""
        tokens = self._tokens(self.place, result)
        del self._audio[: self.place.needs * _BYTES]
        self.place = self.place.next()
        step = Step(self._first + self.place.heard, tokens, tuple(result.blank_posteriors), speech)
        return [*self._recogniser.step(step), *self._settle()]

    def flushed(self, result: RowResult) -> list[EngineEvent]:
        """Take what a row of the copy found; ``flush`` is None when it was the last."""
        flush = self.flush
        if flush is None:
            raise RuntimeError("a flush went on that was over")
        flush.tokens += self._tokens(flush.place, result)
        flush.place = flush.place.next()
        if self._first + flush.place.heard < flush.until:
            return []
        self.flush = None
        self._turns.popleft()
        events = self._recogniser.end_turn(flush.turn_id, flush.through, tuple(flush.tokens))
        return [*events, *self._settle()]

    @property
    def _has_audio(self) -> bool:
        return len(self._audio) >= self.place.needs * _BYTES

    def _settle(self) -> list[EngineEvent]:
        """End the turns that are decoded far enough; begin a flush where only silence can be added."""
        events: list[EngineEvent] = []
        while self._turns and self.flush is None:
            turn_id, through = self._turns[0]
            until = self._recogniser.flush_through(through)
            if until is None or until <= self._first + self.place.heard:
                self._turns.popleft()
                events += self._recogniser.end_turn(turn_id, through, ())
            elif self._has_audio:
                break  # real audio first: it has to be decoded anyway, and is better than silence
            else:
                self.flush = Flush(turn_id, through, until, self.place)
        return events

    def _tokens(self, place: Place, result: RowResult) -> tuple[Token, ...]:
        begin = self._first + place.frame * FRAME_SAMPLES
        return tuple(Token(one.token, begin + one.frame * FRAME_SAMPLES, one.log_probability) for one in result.tokens)
