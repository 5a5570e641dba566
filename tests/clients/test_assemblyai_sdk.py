"""The AssemblyAI Python SDK, as it is on PyPI, against the whole stack with real speech recognition."""

import asyncio
import re
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from assemblyai.streaming.v3 import (
    BeginEvent,
    StreamingClient,
    StreamingClientOptions,
    StreamingError,
    StreamingEvents,
    StreamingParameters,
    TerminationEvent,
    TurnEvent,
)

from support.stack import stack

# The SDK's own affair.
pytestmark = pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")

LIBRIVOX = Path(__file__).parent.parent / "fixtures/recordings/librivox"
SILENCE = bytes(16_000 * 2 * 2)  # two seconds


@dataclass
class Heard:
    """What the SDK's callbacks were given."""

    begins: list[BeginEvent] = field(default_factory=list)
    turns: list[TurnEvent] = field(default_factory=list)
    terminations: list[TerminationEvent] = field(default_factory=list)
    errors: list[StreamingError] = field(default_factory=list)
    terminated: threading.Event = field(default_factory=threading.Event)

    @property
    def finals(self) -> list[TurnEvent]:
        return [turn for turn in self.turns if turn.end_of_turn]

    def on_termination(self, _client: StreamingClient, event: TerminationEvent) -> None:
        self.terminations.append(event)
        self.terminated.set()


def recordings() -> list[tuple[bytes, str]]:
    """Samples and words of every clip, in order."""
    found = []
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        match = re.fullmatch(r"<s> (.*?) </s> \((.*)\)", line)
        assert match is not None
        with wave.open(str(LIBRIVOX / f"{match[2]}.wav")) as clip:
            found.append((clip.readframes(clip.getnframes()), match[1]))
    return found


def paced(audio: bytes) -> Iterator[bytes]:
    """Frames of 50 ms at the pace of a microphone.

    Faster, and what is left to recognise at the end takes a busy machine longer than the SDK's five seconds.
    """
    began_seconds = time.monotonic()
    for start in range(0, len(audio), 1600):
        time.sleep(max(0.0, began_seconds + start / 32_000 - time.monotonic()))
        yield audio[start : start + 1600]


def speak(endpoint: str, audio: bytes, **parameters: object) -> Heard:
    """Use the SDK the way its documentation does."""
    heard = Heard()
    client = StreamingClient(StreamingClientOptions(api_key="self-hosted", api_host=endpoint))
    client.on(StreamingEvents.Begin, lambda _, event: heard.begins.append(event))
    client.on(StreamingEvents.Turn, lambda _, event: heard.turns.append(event))
    client.on(StreamingEvents.Termination, heard.on_termination)
    client.on(StreamingEvents.Error, lambda _, error: heard.errors.append(error))
    client.connect(StreamingParameters(sample_rate=16_000, **parameters))
    client.stream(paced(audio))
    # All audio is with the gateway; the SDK's own disconnect gives up after five seconds.
    client.disconnect(terminate=True)
    return heard


def word_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, found in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (expected != found))
    return row[-1]


@pytest.mark.parametrize("format_turns", [False, True])
async def test_the_sdk_hears_the_librivox_clips_unmodified(format_turns: bool) -> None:
    async with stack("sphinx") as running:
        errors = words = 0
        for audio, text in recordings():
            heard = await asyncio.to_thread(speak, running.gateway, audio + SILENCE, format_turns=format_turns)
            assert heard.errors == []
            assert len(heard.begins) == 1
            assert len(heard.terminations) == 1
            assert heard.terminations[0].audio_duration_seconds == round(len(audio + SILENCE) / 32_000)
            check(heard, format_turns=format_turns)
            spoken = " ".join(turn.transcript for turn in heard.finals).lower().replace(".", "").split()
            errors += word_errors(text.split(), spoken)
            words += len(text.split())
        # PocketSphinx gets about three words in ten of these clips wrong; far worse would be ours.
        assert errors / words < 0.5


def check(heard: Heard, *, format_turns: bool) -> None:
    """Growing partials, one final per turn, orders without gaps."""
    orders = [turn.turn_order for turn in heard.finals]
    assert orders == list(range(len(orders)))
    assert orders
    for order in orders:
        turns = [turn for turn in heard.turns if turn.turn_order == order]
        assert [turn.end_of_turn for turn in turns] == [False] * (len(turns) - 1) + [True]
        assert len(turns) > 2
        assert all(turn.turn_is_formatted is format_turns for turn in turns)
        finals = [sum(word.word_is_final for word in turn.words) for turn in turns]
        assert finals == sorted(finals)
        assert finals[-1] == len(turns[-1].words)


async def test_the_sdk_is_told_what_is_wrong() -> None:
    async with stack("scripted") as running:

        def connect_badly() -> list[StreamingError]:
            errors: list[StreamingError] = []
            told = threading.Event()
            client = StreamingClient(StreamingClientOptions(api_key="wrong", api_host=running.gateway))
            client.on(StreamingEvents.Error, lambda _, error: (errors.append(error), told.set()))
            client.connect(StreamingParameters(sample_rate=16_000))
            told.wait(10)
            client.disconnect()
            return errors

        errors = await asyncio.to_thread(connect_badly)
        assert len(errors) == 1
        assert errors[0].code == 1008
