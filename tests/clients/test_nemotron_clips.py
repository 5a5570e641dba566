"""Recorded and synthetic speech through the gateway and engine ``nemotron`` with the small model: the right words."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from support.assemblyai_sdk import speak
from support.conversation import Conversation
from support.stack import RunningStack, processes, stack
from support.tiny_model import MODEL, clips, one_after_another, silence
from support.words import word_errors

pytestmark = [
    pytest.mark.nemotron,
    # The SDK's own affair.
    pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning"),
]

AUTHORISATION = {"Authorization": "self-hosted"}
TURN_GAP_MS = 1_600
"""Longer than ``max_turn_silence``: every turn ends before the next begins."""
WORKER = b"streamstack_asr.engines.nemotron.worker"
SPEECH = clips()


@pytest.fixture
async def running() -> AsyncIterator[RunningStack]:
    async with stack("nemotron", model=MODEL, device="cpu", precision="fp32", slots=16) as found:
        yield found


def workers(running: RunningStack) -> list[int]:
    """Processes that hold the model."""
    asr = running.services()["asr"]
    return [
        pid
        for pid, (parent, _) in processes().items()
        if parent == asr and WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def heard(running: RunningStack, pcm: bytes, **parameters: object) -> Conversation:
    """What a client is told that sends this audio, and nothing else."""
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    url = f"{running.gateway}/v3/ws?sample_rate=16000{query}"
    async with connect(url, additional_headers=AUTHORISATION) as client:
        conversation = Conversation(client)
        await conversation.speak(pcm)
        await conversation.terminate()
    return conversation


async def test_every_clip_is_heard_right_by_sessions_that_begin_at_different_times(running: RunningStack) -> None:
    talks = [silence(70 * number) + pcm + silence(TURN_GAP_MS) for number, (_, pcm) in enumerate(SPEECH.values())]
    conversations = await asyncio.gather(*(heard(running, pcm) for pcm in talks))
    assert [conversation.finals for conversation in conversations] == [[said] for said, _ in SPEECH.values()]


async def test_the_sdk_hears_a_clip(running: RunningStack) -> None:
    said, pcm = SPEECH["go_backward"]
    found = await asyncio.to_thread(speak, running.gateway, pcm + silence(TURN_GAP_MS))
    assert found.errors == []
    assert [turn.transcript for turn in found.finals] == [said]


async def test_recordings_of_people_are_heard(running: RunningStack) -> None:
    recordings = clips("recordings/cards").values()
    conversations = await asyncio.gather(*(heard(running, pcm + silence(TURN_GAP_MS)) for _, pcm in recordings))
    text = " ".join(conversation.text for conversation in conversations).split()
    expected = " ".join(said for said, _ in recordings).split()
    assert word_errors(expected, text) <= 2


async def test_words_lie_where_they_are_said(running: RunningStack) -> None:
    lead_ms, (said, pcm) = 1_000, SPEECH["three_cards"]
    conversation = await heard(running, silence(lead_ms) + pcm + silence(TURN_GAP_MS))
    words = conversation.turns[-1]["words"]
    assert [word["text"] for word in words] == said.split()
    assert words[0]["start"] > lead_ms - 250
    assert words[-1]["end"] < lead_ms + len(pcm) / 32 + 250


async def test_turns_follow_each_other_in_a_session_and_no_word_comes_twice(running: RunningStack) -> None:
    said, pcm = one_after_another([SPEECH[name] for name in ("go_backward", "one_two_three")], pause_ms=TURN_GAP_MS)
    conversation = await heard(running, pcm)
    assert conversation.finals == said
    assert [turn["turn_order"] for turn in conversation.turns if turn["end_of_turn"]] == [0, 1]


async def test_no_word_is_lost_or_doubled_when_the_worker_dies_in_a_turn(running: RunningStack) -> None:
    said, pcm = SPEECH["three_cards"]
    middle = len(pcm) // 4 * 2
    (worker,) = workers(running)
    async with connect(f"{running.gateway}/v3/ws?sample_rate=16000", additional_headers=AUTHORISATION) as client:
        conversation = Conversation(client)
        await conversation.speak(pcm[:middle])
        # Some words of the turn are out, others are still to come.
        await conversation.until(lambda heard: any(turn["words"] for turn in heard.turns))
        os.kill(worker, signal.SIGKILL)
        await conversation.speak(pcm[middle:] + silence(TURN_GAP_MS))
        await conversation.until(lambda heard: heard.finals)  # once another worker has loaded the model
        await conversation.terminate()
    assert conversation.finals == [said]
    assert any(re.search(r"lost its server", line) for line in running.log)
    assert workers(running) != [worker]
