import asyncio
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from streamstack_gateway.edge import connection as edge_connection
from streamstack_gateway.session.ports import Limits
from support.edge import UPGRADE, Edge, SilentTransport, edge, ended, reached, receive


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "User Input Validation Error: Invalid JSON: {"),
        ("[]", "Invalid Message: []"),
        ('{"type": "Dance"}', "Invalid Message Type: Dance"),
        ('{"type": "UpdateConfiguration", "min_turn_silence": "soon"}', "min_turn_silence"),
    ],
)
async def test_contained_a_bad_message_ends_its_own_session_alone(text: str, expected: str) -> None:
    async with edge() as it, it.client() as neighbour, it.client() as client:
        await receive(neighbour)
        await receive(client)
        await client.send(text)
        error = await receive(client)
        assert error["error_code"] == 3006
        assert expected in error["error"]
        assert (await ended(client))[0] == 3006
        await neighbour.send('{"type": "Terminate"}')
        assert (await receive(neighbour))["type"] == "Termination"
        assert await ended(neighbour) == (1000, "")


async def test_text_before_any_audio_is_fine() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        await client.send('{"type": "ForceEndpoint"}')
        await client.send('{"type": "KeepAlive"}')
        await client.send('{"max_turn_silence": 900, "type": "UpdateConfiguration"}')
        await client.send('{"type":"Terminate"}')
        assert (await receive(client))["type"] == "Termination"


async def test_an_odd_byte_is_carried_over_to_the_next_message() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        server = it.pools.serve()
        await client.send(b"\x01" * 1601)
        await client.send(b"\x01" * 1599)
        await reached(lambda: len(server.audio_bytes) >= 3200)
        assert bytes(server.audio_bytes) == b"\x01" * 3200


async def test_a_message_in_fragments_is_one_message() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        server = it.pools.serve()
        await client.send([b"\x01" * 1600, b"\x02" * 1600])
        await reached(lambda: len(server.audio_bytes) >= 3200)
        assert bytes(server.audio_bytes) == b"\x01" * 1600 + b"\x02" * 1600
        await client.send(['{"type":', '"Dance"}'])
        assert (await receive(client))["error"] == "Invalid Message Type: Dance"


async def test_a_message_too_long_to_be_audio_ends_the_session_with_3007() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        await client.send(bytes(40_000))
        assert (await receive(client))["error_code"] == 3007


async def test_a_message_too_large_to_be_read_closes_with_1009() -> None:
    async with edge() as it, it.client() as client:
        await receive(client)
        with suppress(ConnectionClosed):
            await client.send(bytes(2 << 20))
        assert (await ended(client))[0] == 1009
        await it.none_live()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\x01\x00", 1002),  # not masked
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # a reserved opcode
        (b"\xc2\x80\x00\x00\x00\x00", 1002),  # a reserved bit
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # a continuation of nothing
    ],
)
async def test_contained_a_malformed_frame_closes_its_own_socket_with_1002(frame: bytes, code: int) -> None:
    async with edge() as it, it.client() as neighbour, it.client() as client:
        await receive(neighbour)
        await receive(client)
        client.transport.write(frame)
        assert (await ended(client))[0] == code
        await neighbour.send('{"type": "Terminate"}')
        assert (await receive(neighbour))["type"] == "Termination"


@given(st.lists(st.integers(2, 400), min_size=1, max_size=12), st.data())
def test_audio_is_the_same_however_the_network_cuts_it(sizes: list[int], data: st.DataObject) -> None:
    """Plain frames take a short way past `websockets`, all others do not: together they are one stream."""
    spoken, wire = b"", UPGRADE
    for number, size in enumerate(sizes):
        payload = bytes([number]) * (size * 2)
        spoken += payload
        if data.draw(st.booleans()):
            wire += Frame(Opcode.BINARY, payload).serialize(mask=True)
        else:
            wire += Frame(Opcode.BINARY, payload[:size], fin=False).serialize(mask=True)
            wire += Frame(Opcode.PING, b"").serialize(mask=True)
            wire += Frame(Opcode.CONT, payload[size:]).serialize(mask=True)
    with closing(asyncio.new_event_loop()) as loop:
        it = Edge()
        it.build(limits=Limits(), max_sessions=1, max_connections=1)
        connection = edge_connection.Connection(it.server, loop)
        connection.connection_made(SilentTransport())
        connection.data_received(wire[: len(UPGRADE)])
        server = it.pools.serve(chunk_ms=1)
        wire = wire[len(UPGRADE) :]
        while wire:
            cut = data.draw(st.integers(1, len(wire)))
            connection.data_received(wire[:cut])
            wire = wire[cut:]
    assert bytes(server.audio_bytes) == spoken[: len(spoken) // 32 * 32]


@pytest.mark.parametrize(
    ("behind", "close"),
    [
        (b"\x82\x01\x00", 1002),
        (Frame(Opcode.BINARY, bytes(40_000)).serialize(mask=True), 3007),
        (Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True), 1000),
        (Frame(Opcode.PING, b"hi").serialize(mask=True) + Frame(Opcode.TEXT, b"{").serialize(mask=True), 3006),
    ],
    ids=["unmasked", "too long", "close", "ping and bad text"],
)
async def test_contained_what_comes_in_the_upgrades_own_packet_is_read_after_it(behind: bytes, close: int) -> None:
    async with edge() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(UPGRADE + behind)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Begin" in answer
        assert close.to_bytes(2, "big") in answer.rpartition(b"\x88")[2]
        await it.none_live()
        writer.close()


async def test_contained_a_close_in_the_packet_of_a_refused_upgrade_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with edge() as it:
        it.pools.free = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(UPGRADE + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
        async with asyncio.timeout(5):
            assert b"3009" in await reader.read()
        writer.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
