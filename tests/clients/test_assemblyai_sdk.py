"""The AssemblyAI Python SDK, as it is on PyPI, against the whole stack with real speech recognition."""

import asyncio
import re
import threading
import wave
from pathlib import Path

import pytest
from assemblyai.streaming.v3 import (
    StreamingClient,
    StreamingClientOptions,
    StreamingError,
    StreamingEvents,
    StreamingParameters,
)

from support.assemblyai_sdk import Heard, speak
from support.stack import stack
from support.words import word_errors

# The SDK's own affair.
pytestmark = pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")

LIBRIVOX = Path(__file__).parent.parent / "fixtures/recordings/librivox"
SILENCE = bytes(16_000 * 2 * 2)  # two seconds


def recordings() -> list[tuple[bytes, str]]:
    """Samples and words of every clip, in order."""
    found = []
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        match = re.fullmatch(r"<s> (.*?) </s> \((.*)\)", line)
        assert match is not None
        with wave.open(str(LIBRIVOX / f"{match[2]}.wav")) as clip:
            found.append((clip.readframes(clip.getnframes()), match[1]))
    return found


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
