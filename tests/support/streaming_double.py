"""A streaming server that says what a test tells it to, over real sockets: for clients, not for the gateway."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from support.waiting import Waiting

BEGIN = {"type": "Begin", "id": "7b0c3f0e-5c1d-4f55-9d3a-0f2f6c1b8a11", "expires_at": 1_790_000_000}
TERMINATION = {"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1}


@dataclass
class Heard(Waiting):
    """What the client of the last session sent; changes can be awaited."""

    endpoint: str
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    authorization: str | None = None
    chunks: list[bytes] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def audio(self) -> bytes:
        return b"".join(self.chunks)


Session = Callable[[ServerConnection, Heard], Awaitable[None]]


def turn(text: str, *, order: int = 0, end: bool = False) -> dict[str, Any]:
    """A ``Turn`` as the English models send it: a partial's last word is not final and not in its transcript."""
    words = [
        {"text": word, "start": 100 * i, "end": 100 * i + 80, "confidence": 0.9, "word_is_final": True}
        for i, word in enumerate(text.split())
    ]
    if not end:
        words[-1]["word_is_final"] = False
    transcript = " ".join(str(word["text"]) for word in words if word["word_is_final"])
    return {
        "type": "Turn", "turn_order": order, "turn_is_formatted": True, "end_of_turn": end, "transcript": transcript,
        "end_of_turn_confidence": 0.5, "words": words, "utterance": "",
    }  # fmt: skip


async def hear(websocket: ServerConnection, heard: Heard) -> None:
    """Take everything up to ``Terminate``."""
    async for message in websocket:
        if isinstance(message, bytes):
            heard.chunks.append(message)
        else:
            heard.messages.append(json.loads(message))
        heard.notify()
        if isinstance(message, str) and heard.messages[-1]["type"] == "Terminate":
            return


async def say(websocket: ServerConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await websocket.send(json.dumps(message))


async def two_turns(websocket: ServerConnection, heard: Heard) -> None:
    """A session that goes well."""
    await say(websocket, BEGIN, turn("ten"), turn("ten of"), turn("Ten of clubs.", end=True), turn("queen", order=1))
    await hear(websocket, heard)
    await say(websocket, turn("Queen of hearts.", order=1, end=True), TERMINATION)


@asynccontextmanager
async def streaming_double(session: Session = two_turns) -> AsyncIterator[Heard]:
    """Serve sessions on loopback; each ends with close code 1000 unless ``session`` closed it otherwise."""
    heard = Heard(endpoint="")

    async def handle(websocket: ServerConnection) -> None:
        request = websocket.request
        assert request is not None
        parts = urlsplit(request.path)
        heard.path, heard.query = parts.path, dict(parse_qsl(parts.query))
        heard.authorization = request.headers.get("Authorization")
        try:
            await session(websocket, heard)
        except ConnectionClosed:
            # The client left first; the test looks at what it did.
            return

    async with serve(handle, "127.0.0.1", 0) as server:
        heard.endpoint = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield heard
