"""What a worker works with: a model's slots, a voice detector and what makes words of tokens, by their interfaces."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamstack_asr.engines.base import EngineEvent, SessionConfig, SessionStart
from streamstack_asr.engines.nemotron.recognition.tokens import Step, Token

Samples = NDArray[np.int16]


class EmittedToken(Protocol):
    """A token of a step."""

    @property
    def token(self) -> int:
        """Its number in the vocabulary."""

    @property
    def frame(self) -> int:
        """The frame of the step, from 0."""

    @property
    def log_probability(self) -> float:
        """At most 0."""


class RowResult(Protocol):
    """What one slot's step found."""

    @property
    def tokens(self) -> Sequence[EmittedToken]:
        """In the order of their emission."""

    @property
    def blank_posteriors(self) -> tuple[float, ...]:
        """One a frame, 0 to 1."""


class Model(Protocol):
    """Slots that step together; see ``model.slot_model.SlotModel``, whose words these are."""

    @property
    def spare_slots(self) -> int:
        """Slots behind those of sessions, for copies."""

    def reset(self, slot: int) -> None:
        """Begin anew in ``slot``."""

    def copy(self, source: int, target: int) -> None:
        """Give ``target`` everything that ``source`` remembers."""

    def set_prompt(self, slot: int, prompt: int) -> None:
        """Hear ``slot`` in another language from here on."""

    def set_keyterms(self, slot: int, terms: Sequence[tuple[int, ...]]) -> None:
        """Favour ``terms``, as tokens, from here on."""

    def step(self, lookahead: int, slots: Sequence[int], audio: Samples) -> Sequence[RowResult]:
        """Advance each of ``slots`` by one step of audio [rows, 1280 (lookahead + 1)]; a first step is on the right."""


class Detector(Protocol):
    """Tells speech from what is none, for each slot; see ``vad.VoiceDetector``."""

    def reset(self, slot: int) -> None:
        """Begin anew in ``slot``."""

    def probabilities(self, rows: Sequence[tuple[int, Samples]]) -> Sequence[tuple[float, ...]]:
        """Take audio of slots; for each the probability of every 32 ms window that it completed."""


class Recogniser(Protocol):
    """Makes one session's events; see ``recognition.recognition.Recognition``."""

    def step(self, step: Step) -> Sequence[EngineEvent]:
        """Take a step."""

    def flush_through(self, through_sample: int) -> int | None:
        """How far a copy has to decode before a turn can end at ``through_sample``; None: no copy is needed."""

    def end_turn(self, turn_id: int, through_sample: int, flushed: tuple[Token, ...]) -> Sequence[EngineEvent]:
        """End the open turn with the tokens of the copy."""


class Asked(NamedTuple):
    """What of a configuration concerns the model: terms as tokens, and the prompt of a language (None: it has none)."""

    terms: tuple[tuple[int, ...], ...]
    prompt: int | None


@dataclass(frozen=True, slots=True)
class Machinery:
    """All of it, ready and warm: for ``slots`` sessions, of routing names that each have a lookahead.

    ``about`` goes to the server when the worker serves. ``aside`` is a thread for the detector, where the model works
    on another device meanwhile.
    """

    model: Model
    detector: Detector
    recogniser: Callable[[SessionStart, int], Recogniser]
    asked: Callable[[SessionConfig], Asked]
    lookaheads: dict[str, int]
    slots: int
    about: dict[str, str]
    aside: Executor | None = None
