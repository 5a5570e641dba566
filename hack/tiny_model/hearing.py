"""Clips through the slots of engine ``nemotron``'s model: many at once, each begun on its own, as sessions are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from tiny_model.held_out import Clip

if TYPE_CHECKING:
    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

SLOTS: Final = 16
LOOKAHEADS: Final = {80: 0, 160: 1, 320: 3, 560: 6}
"""Step in ms -> frames the model looks ahead."""
FRAME_SAMPLES: Final = 1280
FIRST_SAMPLES: Final = 256
"""The first step needs so many samples beside its lookahead: its first mel frame is centred at sample 0."""
TAIL_SAMPLES: Final = 9_600
"""Silence behind a clip, 600 ms: what a session's end of turn is decided in."""
BEGINNING_A_STEP: Final = 3

Terms = tuple[tuple[int, ...], ...]


class Heard(NamedTuple):
    """A token, the sample its frame is centred at, and its probability's logarithm."""

    token: int
    sample: int
    log_probability: float


@dataclass(slots=True)
class _Session:
    number: int
    chunks: npt.NDArray[np.int16]
    frames: int = 0
    heard: list[Heard] = field(default_factory=list)


def hear(
    model: "SlotModel",
    clips: Sequence[npt.NDArray[np.int16]],
    *,
    lookahead: int,
    slots: int,
    terms: Sequence[Terms] = (),
) -> list[list[Heard]]:
    """Return the tokens of each clip, through ``slots`` slots at once; ``terms`` are each clip's key terms, or none."""
    waiting = list(range(len(clips)))[::-1]
    found: list[list[Heard]] = [[] for _ in clips]
    free, live = list(range(slots)), dict[int, _Session]()
    while waiting or live:
        for _ in range(min(BEGINNING_A_STEP, len(waiting), len(free))):
            number, slot = waiting.pop(), free.pop(0)
            model.reset(slot)
            model.set_keyterms(slot, terms[number] if terms else ())
            live[slot] = _Session(number, in_steps(clips[number], lookahead))
        _step(model, live, lookahead)
        for slot in [slot for slot, session in live.items() if session.frames == session.chunks.size // FRAME_SAMPLES]:
            session = live.pop(slot)
            found[session.number] = session.heard
            free.append(slot)
    return found


def in_steps(clip: npt.NDArray[np.int16], lookahead: int) -> npt.NDArray[np.int16]:
    """Return a clip with silence behind it as [steps, samples]; the first step is short, and filled up in front."""
    step = FRAME_SAMPLES * (lookahead + 1)
    short = FRAME_SAMPLES - FIRST_SAMPLES
    length = short + len(clip) + TAIL_SAMPLES + FRAME_SAMPLES * lookahead
    steps = np.zeros(-(-length // step) * step, np.int16)
    steps[short : short + len(clip)] = clip
    return steps.reshape(-1, step)


def _step(model: "SlotModel", live: dict[int, _Session], lookahead: int) -> None:
    sessions = list(live.values())
    audio = np.stack([session.chunks[session.frames // (lookahead + 1)] for session in sessions])
    for session, row in zip(sessions, model.step(lookahead, list(live), audio), strict=True):
        for token, frame, log_probability in row.tokens:
            session.heard.append(Heard(token, FRAME_SAMPLES * (session.frames + frame), log_probability))
        session.frames += lookahead + 1


class Text:
    """The pieces of a model folder."""

    def __init__(self, folder: str) -> None:
        self._pieces = Tokenizer.from_file(f"{folder}/tokenizer.json")

    def of(self, heard: Sequence[Heard]) -> str:
        """Return what tokens spell."""
        text: str = self._pieces.decode([one.token for one in heard])
        return text.strip()

    def terms(self, words: Sequence[str]) -> Terms:
        """Return the tokens of each term."""
        return tuple(tuple(self._pieces.encode(word).ids) for word in words)


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
    return row[-1]


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over clips."""

    clips: int
    words: int
    errors: int
    exact: int

    @property
    def rate(self) -> float:
        """Word errors a word."""
        return self.errors / self.words


class Listener:
    """The model of a folder, as the engine's worker loads it."""

    def __init__(self, folder: Path, *, precision: str, steps_ms: Sequence[int]) -> None:
        from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

        lookaheads = tuple(LOOKAHEADS[step] for step in steps_ms)
        self.model = SlotModel.load(
            folder, device="cpu", precision=precision, slots=SLOTS, lookaheads=lookaheads, buckets=(1, 2, 4, 8, SLOTS)
        )
        self.text = Text(str(folder))

    def texts(self, clips: Sequence[Clip], step_ms: int, terms: Sequence[Terms] = ()) -> list[str]:
        """Return what is heard in each."""
        samples = [clip.samples for clip in clips]
        found = hear(self.model, samples, lookahead=LOOKAHEADS[step_ms], slots=SLOTS, terms=terms)
        return [self.text.of(heard) for heard in found]

    def score(self, clips: Sequence[Clip], step_ms: int, terms: Sequence[str] = ()) -> Score:
        """Compare; ``terms`` are the key terms of every clip."""
        heard = self.texts(clips, step_ms, [self.text.terms(terms)] * len(clips) if terms else ())
        errors = [word_errors(clip.words, text.split()) for clip, text in zip(clips, heard, strict=True)]
        return Score(len(clips), sum(len(clip.words) for clip in clips), sum(errors), errors.count(0))
