"""Clients in the test's own process, where a test has to say when a session ends: one that talks, and many at once."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from e2e.support.clients import Endpoint
from websockets.asyncio.client import ClientConnection, connect

from support.conversation import Conversation
from support.scripted_audio import script

ENGLISH = "universal-streaming-english"
SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "how vexingly quick daft zebras jump",
    "sphinx of black quartz judge my vow",
)
FRAME_MS = 100
SECOND_BYTES = 32_000
OPEN_SECONDS = 30.0
OPEN_AT_ONCE = 20
"""Handshakes under way at a time: TLS is what an opening costs on two cores."""


class Speaker:
    """A session that says one sentence after the other, at the pace of speech, until it is told to finish."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.said: list[str] = []
        self.sent_bytes = 0
        self._enough = False
        self._speaking = asyncio.create_task(self._speak())

    @property
    def heard(self) -> list[str]:
        """Sentences that came back."""
        return self.conversation.finals

    @property
    def sent_ms(self) -> int:
        """Audio that was sent, in whole milliseconds of 16 kHz PCM16."""
        return self.sent_bytes * 1000 // SECOND_BYTES

    async def hears(self, more: int = 2) -> None:
        """Wait until ``more`` further sentences have come back; AssertionError when the session ends before."""
        wanted = len(self.heard) + more
        await self.conversation.until(lambda it: len(it.finals) >= wanted)

    async def finish(self) -> None:
        """End the session after the sentence it is at: every word that was said has come back, once and in order."""
        self._enough = True
        await self._speaking
        await self.conversation.terminate()
        assert self.heard == self.said

    async def leave(self) -> None:
        """Say nothing more."""
        self._speaking.cancel()
        await asyncio.wait([self._speaking])

    async def _speak(self) -> None:
        due = asyncio.get_running_loop().time()
        block = 0
        for sentence in itertools.cycle(SENTENCES):
            spoken = script(sentence, tail_ms=1600, first_block=block)
            block = spoken.next_block
            self.said.append(sentence)
            frame = FRAME_MS * SECOND_BYTES // 1000
            for start in range(0, len(spoken.pcm), frame):
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                piece = spoken.pcm[start : start + frame]
                await self.conversation.client.send(piece)
                self.sent_bytes += len(piece)
                due += FRAME_MS / 1000
            if self._enough:
                return


def opening(endpoint: Endpoint, *, speech_model: str = ENGLISH, **options: Any) -> connect:
    """Open a socket to a stack, through its ingress, with its certificate checked."""
    url = urlsplit(endpoint.url)
    host = url.hostname or ""
    if endpoint.authority is not None:
        options["ssl"] = ssl.create_default_context(cafile=str(endpoint.authority))
    return connect(
        f"{endpoint.url}/v3/ws?sample_rate=16000&speech_model={speech_model}",
        host=endpoint.hosts.get(host, host),
        additional_headers={"Authorization": "self-hosted"},
        proxy=None,
        open_timeout=OPEN_SECONDS,
        **options,
    )


@asynccontextmanager
async def speaking(endpoint: Endpoint, *, speech_model: str = ENGLISH) -> AsyncIterator[Speaker]:
    """Talk to a stack whose engine is Scripted, from the first words that were heard on."""
    async with opening(endpoint, speech_model=speech_model) as client:
        speaker = Speaker(await _begun(client))
        try:
            await speaker.hears(1)
            yield speaker
        finally:
            await speaker.leave()


@asynccontextmanager
async def many_sessions(endpoint: Endpoint, count: int) -> AsyncIterator[Sequence[Conversation]]:
    """Open sessions that have all begun, a few at a time."""
    async with AsyncExitStack() as open_sockets:
        limit = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one() -> Conversation:
            async with limit:
                return await _begun(await open_sockets.enter_async_context(opening(endpoint)))

        yield await asyncio.gather(*(one() for _ in range(count)))


async def stream_silence(conversation: Conversation, *, seconds: int, frame_ms: int = 500) -> None:
    """Send audio that means nothing, at the pace of speech and in few messages: the load engine reads none of it."""
    frame = bytes(frame_ms * SECOND_BYTES // 1000)
    due = asyncio.get_running_loop().time()
    for _ in range(seconds * 1000 // frame_ms):
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await conversation.client.send(frame)
        due += frame_ms / 1000


async def _begun(client: ClientConnection) -> Conversation:
    conversation = Conversation(client)
    await conversation.until(lambda it: it.messages)
    assert conversation.messages[0]["type"] == "Begin", conversation.messages[0]
    return conversation
