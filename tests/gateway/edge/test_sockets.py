import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
from websockets.frames import Frame, Opcode

from streamstack_gateway.edge import connection as edge_connection
from streamstack_gateway.edge.rate import BURST_MESSAGES, MESSAGES_PER_SECOND
from streamstack_gateway.session.ports import Limits
from support.edge import UPGRADE, Edge, SilentTransport, edge, receive
from support.hypotheses import hypothesis, word


async def test_a_client_that_vanishes_mid_turn_gives_its_slot_back() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        server = it.pools.serve()
        client.transport.abort()
        await it.none_live()
        assert server.closed
        assert it.sessions.outcomes["client_gone"] == 1


async def test_contained_a_client_that_never_reads_is_ended_and_nobody_else_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge_connection, "MAX_UNREAD_BYTES", 10_000)
    async with edge() as it, it.client() as neighbour:
        await receive(neighbour)
        it.pools.serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(UPGRADE)
        await reader.readuntil(b"Begin")
        server = it.pools.serve()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for through_ms in range(100, 2_000_000, 100):
            server.listener.hypothesis(hypothesis([word("x" * 5000, 0, through_ms)], through_ms=through_ms))
            await asyncio.sleep(0)
            if server.closed:
                break
        assert it.sessions.outcomes == {"client_not_reading": 1}
        writer.close()
        await neighbour.send('{"type": "Terminate"}')
        assert (await receive(neighbour))["type"] == "Termination"


async def test_a_socket_that_never_becomes_a_session_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_connection, "HANDSHAKE_SECONDS", 0.0)
    async with edge() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_an_idle_client_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_connection, "PING_SECONDS", 0.0)
    async with edge(limits=Limits()) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(UPGRADE)
        async with asyncio.timeout(5):
            await reader.readuntil(b"\x89\x00")
        writer.close()


async def test_a_silent_peer_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_connection, "VANISHED_SECONDS", 0.5)
    monkeypatch.setattr(edge_connection, "PING_SECONDS", 100.0)
    async with edge() as it, it.client(ping_interval=None) as client:
        await receive(client)
        await it.none_live()


class PlayedTime:
    """The parts of an event loop that a connection uses, by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.due.append((self.now + delay, callback))

    def run_next(self) -> None:
        self.now, callback = self.due.pop(0)
        callback()


def test_contained_a_flood_of_messages_is_taken_slice_by_slice_at_the_rate_a_client_may_have() -> None:
    it, loop, transport = Edge(), PlayedTime(), SilentTransport()
    it.build(limits=Limits(), max_sessions=1, max_connections=1)
    connection = edge_connection.Connection(it.server, cast(asyncio.AbstractEventLoop, loop))
    connection.connection_made(transport)
    connection.data_received(UPGRADE)
    session = next(iter(it.sessions))
    received = []
    session.receive = lambda event, now: received.append((event, now))  # type: ignore[method-assign]
    flood = Frame(Opcode.TEXT, b'{"type": "KeepAlive"}').serialize(mask=True) * 20_000
    connection.data_received(flood)
    assert 0 < len(received) < 1_000
    assert transport.paused
    while loop.due:
        before = len(received)
        loop.run_next()
        assert len(received) - before < 1_000
    assert len(received) == 20_000
    assert not transport.paused
    assert loop.now > (20_000 - BURST_MESSAGES) / MESSAGES_PER_SECOND - 5


async def test_contained_a_client_that_pings_and_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_connection, "MAX_UNREAD_BYTES", 10_000)
    async with edge() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(UPGRADE)
        await reader.readuntil(b"Begin")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        connection = next(iter(it.server._connections))
        connection._transport.set_write_buffer_limits(1)  # type: ignore[union-attr]
        pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 100
        async with asyncio.timeout(20):
            while it.sessions.outcomes != {"client_not_reading": 1}:
                connection._take(pings, 0.0)
                await asyncio.sleep(0)
        writer.close()
