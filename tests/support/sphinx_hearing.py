"""Recorded clips, and what a session of the sphinx engine makes of them."""

import re
import wave
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from streamstack_asr.engines.base import EngineEvent, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.sphinx.recognition import Recognition

_RECORDINGS = Path(__file__).parents[1] / "fixtures" / "recordings"
_LINE = re.compile(r"<s> (?P<text>.*?)\s*</s> \((?P<name>.*)\)")


@dataclass(frozen=True)
class Clip:
    """A recording and what is said in it."""

    name: str
    text: str
    pcm: bytes


def read_clips(folder: str) -> tuple[Clip, ...]:
    clips = []
    for line in (_RECORDINGS / folder / "transcription").read_text().splitlines():
        found = _LINE.fullmatch(line.strip())
        assert found, line
        with wave.open(str(_RECORDINGS / folder / f"{found['name']}.wav")) as recording:
            clips.append(Clip(found["name"], found["text"], recording.readframes(recording.getnframes())))
    return tuple(clips)


@dataclass
class Heard:
    """Everything one session emitted, and the words of each turn as a reader of the events would keep them."""

    events: list[EngineEvent] = field(default_factory=list)
    turns: dict[int, list[Word]] = field(default_factory=dict)

    def __call__(self, event: EngineEvent) -> None:
        self.events.append(event)
        if isinstance(event, Hypothesis | FinalWords):
            finals = self.turns.setdefault(event.turn_id, [])
            # Fewer only where an end of turn withdraws words that lie behind it.
            assert event.words_before == len(finals) or (
                isinstance(event, FinalWords) and event.words_before < len(finals)
            )
            del finals[event.words_before :]
            finals += (word for word in event.words if word.is_final)

    def hypotheses(self, turn_id: int = 1) -> list[Hypothesis]:
        return [event for event in self.events if isinstance(event, Hypothesis) and event.turn_id == turn_id]

    @property
    def ended(self) -> list[TurnEnded]:
        return [event for event in self.events if isinstance(event, TurnEnded)]

    def text(self, turn_id: int) -> str:
        return " ".join(word.text for word in self.turns[turn_id])


def session_start(*, first_sample: int = 0, turn_start_sample: int | None = None) -> SessionStart:
    turn_start = first_sample if turn_start_sample is None else turn_start_sample
    return SessionStart("session", "en-default", first_sample, 1, turn_start, SessionConfig())


def run(recognition: Recognition, heard: Heard) -> None:
    while recognition.has_work:
        for event in recognition.step():
            heard(event)


def pieces(pcm: bytes, milliseconds: int) -> Iterable[bytes]:
    size = 32 * milliseconds
    return (pcm[offset : offset + size] for offset in range(0, len(pcm), size))


def samples(pcm: bytes) -> int:
    return len(pcm) // 2


def silence(milliseconds: int) -> bytes:
    """Not digital: a least-significant bit of dither, as a microphone in a quiet room gives."""
    return b"\x00\x00\x01\x00\xff\xff\x00\x00" * (milliseconds * 4)
