"""How well and how soon turns end: conversations of known turn ends through engine ``nemotron`` and the gateway's rule.

    PYTHONPATH=hack .venv/bin/python hack/bench/nemotron_turns.py

A conversation is made of recordings of people (playing cards, digits, a command) and of the small model's test clips,
each cut to where it is loud: two or three clips with a pause of known length in between are one turn, and the next turn
comes after a gap of one to two seconds. Room noise of the level given lies under everything. The gateway's own
``OpenTurn`` decides, with the thresholds a client gets that asks for none.

Delay: from the end of the turn's last sound to the audio the engine had heard when the end was decided. What the step
and the machine add to that is another bench's (``nemotron_latency``). Early: an end inside a turn that nowhere pauses
for ``min_turn_silence``; split: inside one that does, where the rule may end it. Missed: no end before the next turn
began, also because not one word of it was heard. WER: of the whole conversation, which is longer than what the small
model was trained on.
"""

import argparse
import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from streamstack_asr.engines import registry
from streamstack_asr.engines.base import (
    AsrEngine,
    EngineEvent,
    Failed,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
)
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.server import encoding
from streamstack_common.contracts import asr_pb2
from streamstack_gateway.dialects.events import Turn
from streamstack_gateway.dialects.v3.query import DEFAULTS
from streamstack_gateway.turns.detector import Decision
from streamstack_gateway.turns.turn import OpenTurn
from tiny_model.hearing import word_errors
from tiny_model.held_out import FIXTURES, Clip, listed, longest_pause_ms, people, trimmed

SAMPLE_RATE: Final = 16_000
FRAME_SAMPLES: Final = 1_280
PIECE_SAMPLES: Final = 800
PAUSES_MS: Final = (100, 200, 300, 350)
"""Shorter than ``min_turn_silence`` (400 ms) less what a detector may add."""
LONG_PAUSES_MS: Final = (500, 700)
GAPS_MS: Final = (1_000, 1_400, 2_000)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn in the audio: samples of its first and last sound, and its longest pause, the speaker's own included."""

    said: str
    start: int
    end: int
    pause_ms: int

    @property
    def has_a_turns_pause(self) -> bool:
        """Whether it pauses so long that the rule may end it there."""
        return self.pause_ms >= DEFAULTS.min_turn_silence_ms


@dataclass(slots=True)
class Conversation:
    """Audio, and the turns in it."""

    samples: npt.NDArray[np.int16]
    turns: tuple[Spoken, ...]


@dataclass(slots=True)
class Figures:
    """Counts over turns, and the delay of each that was found, in ms."""

    turns: int = 0
    early: int = 0
    pausing: int = 0
    split: int = 0
    missed: int = 0
    words: int = 0
    errors: int = 0
    delays_ms: list[float] = field(default_factory=list)


def converse(
    clips: Sequence[Clip], pauses_ms: Sequence[int], *, turns: int, noise_db: float | None, seed: int
) -> Conversation:
    """Make a conversation; ``noise_db`` is the noise's level below the speech's, None for none."""
    random_ = random.Random(seed)  # noqa: S311 - the same conversations each time
    pieces = [np.zeros(SAMPLE_RATE // 2, np.int16)]
    spoken = []
    for _ in range(turns):
        start = end = sum(map(len, pieces))
        said, longest = [], 0
        for number in range(random_.choice((1, 2, 2, 3))):
            if number:
                pause = random_.choice(pauses_ms)
                longest = max(longest, pause)
                pieces.append(np.zeros(pause * SAMPLE_RATE // 1000, np.int16))
            clip = random_.choice(clips)
            said.append(clip.said)
            pieces.append(trimmed(clip.samples))
            longest = max(longest, longest_pause_ms(pieces[-1]))
            end = sum(map(len, pieces))
        spoken.append(Spoken(" ".join(said), start, end, longest))
        pieces.append(np.zeros(random_.choice(GAPS_MS) * SAMPLE_RATE // 1000, np.int16))
    samples = np.concatenate([*pieces, np.zeros(SAMPLE_RATE, np.int16)]).astype(np.float64)
    if noise_db is not None:
        level = np.sqrt((samples[samples != 0] ** 2).mean()) * 10 ** (-noise_db / 20)
        samples += np.random.default_rng(seed).standard_normal(len(samples)) * level
    return Conversation(np.clip(samples, -32_768, 32_767).astype(np.int16), tuple(spoken))


class Client:
    """One session: takes audio at the pace of its engine, and ends turns by the gateway's rule."""

    def __init__(self, engine: AsrEngine, model: str) -> None:
        self.turn = OpenTurn(DEFAULTS, language_detection=False)
        self.ends: list[int] = []
        """Audio heard when each turn's end was decided."""
        self.texts: list[str] = []
        self._cut: int | None = None
        self._turn_id = 1
        self._news = asyncio.Event()
        self._failed = ""
        self.heard = 0
        start = SessionStart("bench", model, 0, 1, 0, SessionConfig())
        self.session = engine.open(start, self._take)

    async def caught_up(self, sample: int) -> None:
        """Wait until the engine has heard so far, and no turn is being ended."""
        while self.heard < sample or self._cut is not None:
            if self._failed:
                raise SystemExit(f"the engine lost the session: {self._failed}")
            self._news.clear()
            await self._news.wait()

    def _take(self, event: EngineEvent) -> None:
        if isinstance(event, Hypothesis):
            self._hypothesis(event)
        elif isinstance(event, FinalWords):
            self._final(self.turn.complete(_final(event)))
        elif isinstance(event, TurnEnded):
            self._cut = None
            self._turn_id += 1
            self.heard = event.through_sample
            self.turn.next(event.through_sample)
        elif isinstance(event, Failed):
            self._failed = event.message
        self._news.set()

    def _hypothesis(self, event: Hypothesis) -> None:
        piece = asr_pb2.FromAsr.FromString(encoding.hypothesis(1, 0, event))
        _, decision = self.turn.hypothesis(piece.replies[0].hypothesis, cut=self._cut)
        self.heard = event.through_sample
        if decision is Decision.END and self._cut is None:
            self._cut = event.through_sample
            self.ends.append(event.through_sample)
            self.session.end_turn(self._turn_id, event.through_sample)

    def _final(self, turn: Turn | None) -> None:
        self.texts.append("" if turn is None else " ".join(word.text for word in turn.words))


def _final(event: FinalWords) -> asr_pb2.Final:
    return asr_pb2.FromAsr.FromString(encoding.final(1, 0, event)).replies[0].final


async def talk(engine: AsrEngine, model: str, conversation: Conversation) -> Client:
    """Stream a conversation in pieces of 50 ms, none before the engine is through with what it can be through with."""
    description = engine.describe()
    step = description.chunk_ms * SAMPLE_RATE // 1000
    client = Client(engine, model)
    for start in range(0, len(conversation.samples), PIECE_SAMPLES):
        piece = conversation.samples[start : start + PIECE_SAMPLES]
        client.session.push(piece.tobytes())
        # A step is taken when its lookahead is there: all but the last step is decoded.
        await client.caught_up(max(0, start + len(piece) - 2 * step))
    client.session.close()
    return client


def judge(conversation: Conversation, client: Client, figures: Figures) -> None:
    """Count."""
    ends = list(client.ends)
    for spoken, following in zip(conversation.turns, [*conversation.turns[1:], None], strict=True):
        limit = len(conversation.samples) if following is None else following.start
        inside = [end for end in ends if spoken.start < end <= spoken.end]
        after = [end for end in ends if spoken.end < end <= limit]
        figures.turns += 1
        figures.pausing += spoken.has_a_turns_pause
        figures.split += spoken.has_a_turns_pause and bool(inside)
        figures.early += not spoken.has_a_turns_pause and bool(inside)
        figures.missed += not after
        figures.delays_ms += [(end - spoken.end) * 1000 / SAMPLE_RATE for end in after[:1]]
    said = " ".join(spoken.said for spoken in conversation.turns).split()
    figures.words += len(said)
    figures.errors += word_errors(said, " ".join(client.texts).split())


def line(name: str, figures: Figures) -> str:
    """One row of the table."""
    ordered = sorted(figures.delays_ms) or [float("nan")]
    p50, p95 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95))
    early = f"{figures.early} of {figures.turns - figures.pausing}"
    split = f"{figures.split} of {figures.pausing}"
    counts = f"{early:>10}{split:>10}{f'{figures.missed} of {figures.turns}':>10}"
    return f"{name:56}{counts}{p50:>8.0f}{p95:>8.0f}{figures.errors / figures.words:>8.1%}"


async def measure(folder: Path, step_ms: int, *, conversations: int, turns: int) -> None:
    """Print the table of one step."""
    model = "en-default"
    options = EngineOptions(
        models=(model,),
        workers=1,
        slots=4,
        model_dir=str(folder),
        device="cpu",
        precision="fp32",
        chunk_ms=str(step_ms),
    )
    engine = registry.create("nemotron", options)
    engine.prepare()
    await engine.start()
    try:
        for name, clips in {"people": people(), "synthetic": listed(FIXTURES / "speech")}.items():
            for kind, pauses in {"to 350 ms": PAUSES_MS, "to 700 ms": LONG_PAUSES_MS}.items():
                for noise_db in (None, 20.0):
                    figures = Figures()
                    for seed in range(conversations):
                        talked = converse(clips, pauses, turns=turns, noise_db=noise_db, seed=seed)
                        judge(talked, await talk(engine, model, talked), figures)
                    floor = "no noise" if noise_db is None else f"noise {noise_db:.0f} dB below"
                    print(line(f"{step_ms:4} ms  {name}, pauses {kind}, {floor}", figures), flush=True)
    finally:
        await engine.stop()


def main() -> None:
    """Measure all, or what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=FIXTURES / "models/tiny")
    parser.add_argument("--steps", default="160,560", help="ms")
    parser.add_argument("--conversations", type=int, default=6)
    parser.add_argument("--turns", type=int, default=8, help="in a conversation")
    given = parser.parse_args()
    print(f"{'step, clips':56}{'early':>10}{'split':>10}{'missed':>10}{'p50 ms':>8}{'p95 ms':>8}{'WER':>8}")
    for step in given.steps.split(","):
        asyncio.run(measure(given.model, int(step), conversations=given.conversations, turns=given.turns))


if __name__ == "__main__":
    main()
