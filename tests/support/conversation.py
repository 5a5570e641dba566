"""What a client hears, kept as it comes, and checked against the protocol's own rules on the way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

FRAME_BYTES = 3200  # 100 ms of 16 kHz PCM16


@dataclass
class Conversation:
    """Reads one client's messages in the background; ``until`` waits for what they add up to."""

    client: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def turns(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == "Turn"]

    @property
    def finals(self) -> list[str]:
        return [turn["transcript"] for turn in self.turns if turn["end_of_turn"]]

    @property
    def text(self) -> str:
        return " ".join(self.finals)

    async def until(self, reached: Callable[["Conversation"], object]) -> None:
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: reached(self) or self._reading.done())
        assert reached(self), f"the session ended with {self.messages[-1:]}, close {self.client.close_code}"

    async def speak(self, pcm: bytes, *, frame_bytes: int = FRAME_BYTES) -> None:
        for start in range(0, len(pcm), frame_bytes):
            await self.client.send(pcm[start : start + frame_bytes])

    async def terminate(self) -> None:
        """Say good-bye and hear everything there is."""
        await self.client.send('{"type": "Terminate"}')
        async with asyncio.timeout(60):
            await self._reading
        assert self.messages[-1]["type"] == "Termination", self.messages[-1]
        assert self.client.close_code == 1000
        check_turns(self.turns)

    async def _read(self) -> None:
        try:
            while True:
                message = orjson.loads(await self.client.recv())
                async with self._news:
                    self.messages.append(message)
                    self._news.notify_all()
        except ConnectionClosed:
            async with self._news:
                self._news.notify_all()


def check_turns(turns: list[dict[str, Any]]) -> None:
    """The rules of the US models: one final a turn, no gap in orders, final words that never change, rising times."""
    order, finals_of_turn, last_end = 0, list[dict[str, Any]](), 0
    for turn in turns:
        assert turn["turn_order"] == order
        words = turn["words"]
        finals = [word for word in words if word["word_is_final"]]
        assert words[: len(finals)] == finals, "a final word behind a tentative one"
        assert finals[: len(finals_of_turn)] == finals_of_turn, "a final word has changed"
        assert turn["transcript"] == " ".join(word["text"] for word in finals)
        at = last_end
        for word in words:
            assert at <= word["start"] < word["end"]
            at = word["end"]
        finals_of_turn = finals
        if turn["end_of_turn"]:
            assert len(finals) == len(words) > 0
            order, finals_of_turn, last_end = order + 1, [], finals[-1]["end"]
    assert not turns or turns[-1]["end_of_turn"], "the last turn has no final"
