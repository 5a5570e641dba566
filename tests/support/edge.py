"""The gateway's client port in this process: real sockets, servers played by hand, a license the test decides."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamstack_gateway.edge.server import EdgeServer
from streamstack_gateway.models import ModelMap
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import Allowance, Limits, Metered
from streamstack_gateway.session.registry import Sessions
from streamstack_gateway.tokens import Tokens
from support.fake_pools import HandPools
from support.waiting import eventually

TOKEN_KEY = b"a key for tests, 32 bytes or more"
SELF_HOSTED = {"Authorization": "self-hosted"}
UPGRADE = (
    b"GET /v3/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nAuthorization: self-hosted\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""What a client's first bytes look like, for tests that go on by hand."""


@dataclass
class HandMeter:
    """Sessions as they were said to begin and to end."""

    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str, int]] = field(default_factory=list)
    full: bool = False

    def begin(self, session: Metered) -> None:
        self.begun.append(session.id)

    def over(self, session: Metered) -> None:
        self.ended.append((session.id, session.outcome, session.audio_ms))


@dataclass
class Edge:
    """What a test may look at and change while clients are connected."""

    pools: HandPools = field(default_factory=HandPools)
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(1 << 26))
    refusal: str | None = None
    unready: str | None = None
    begins: list[float] = field(default_factory=list)
    allowance: Allowance = field(default_factory=Allowance)
    meter: HandMeter = field(default_factory=HandMeter)

    def build(self, *, limits: Limits, max_sessions: int, max_connections: int) -> None:
        self.sessions = Sessions(
            models=ModelMap.configure({"en-default": "english"}),
            pools=self.pools,
            budget=self.budget,
            limits=limits,
            capacity=max_sessions,
            max_sessions=max_sessions,
            revision="r1",
            license_refusal=lambda: self.refusal,
            allowance=lambda: self.allowance,
            meter=self.meter,
        )
        self.server = EdgeServer(
            self.sessions,
            unready=lambda: self.unready,
            observe_begin=self.begins.append,
            max_connections=max_connections,
            tokens=Tokens(TOKEN_KEY),
        )

    def client(self, target: str = "/v3/ws?sample_rate=16000", **options: Any) -> connect:
        scheme = "wss" if "ssl" in options else "ws"
        options.setdefault("additional_headers", SELF_HOSTED)
        return connect(f"{scheme}://localhost:{self.port}{target}", **options)

    async def none_live(self) -> None:
        async with asyncio.timeout(5):
            await self.sessions.empty()


@asynccontextmanager
async def edge(
    *,
    limits: Limits | None = None,
    max_sessions: int = 10,
    max_connections: int = 100,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Edge]:
    """A listening port, closed at the end."""
    it = Edge()
    it.build(limits=limits or Limits(), max_sessions=max_sessions, max_connections=max_connections)
    it.port = await it.server.start("127.0.0.1", 0, tls)
    try:
        yield it
    finally:
        await it.server.stop()


async def receive(client: ClientConnection) -> dict[str, Any]:
    """The next message, within a deadline that only a hang reaches."""
    async with asyncio.timeout(10):
        message: dict[str, Any] = orjson.loads(await client.recv())
    return message


async def ended(client: ClientConnection) -> tuple[int | None, str]:
    """Read until the close; its code and reason."""
    async with asyncio.timeout(10):
        with suppress(ConnectionClosed):
            while True:
                await client.recv()
        await client.wait_closed()
    return client.close_code, client.close_reason or ""


async def reached(predicate: Callable[[], object]) -> None:
    """Wait for something the gateway does in this process without telling anybody."""

    async def holds() -> bool:
        return bool(predicate())

    await eventually(holds)


class SilentTransport(asyncio.Transport):
    """Takes what is written; nobody reads it."""

    paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Into the void."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
