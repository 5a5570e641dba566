import asyncio
import socket
import ssl
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode

from streamstack_gateway.edge import connection as edge_connection
from streamstack_gateway.edge.server import TlsError, tls_context
from streamstack_gateway.session.ports import Limits
from support.certificates import write_self_signed
from support.edge import SELF_HOSTED, Edge, edge, ended, reached, receive
from support.hypotheses import hypothesis, word

UPGRADE = (
    b"GET /v3/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nAuthorization: self-hosted\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("path", ["/v3/ws", "/"])
async def test_a_client_is_greeted_on_both_paths(path: str) -> None:
    async with edge() as it, it.client(f"{path}?sample_rate=16000") as client:
        begin = await receive(client)
        assert begin["type"] == "Begin"
        assert begin["configuration"]["model"] == "universal-streaming-english"
        assert len(it.begins) == 1


async def test_another_path_is_not_found() -> None:
    async with edge() as it:
        with pytest.raises(InvalidStatus) as refusal:
            await it.client("/v9")
        assert refusal.value.response.status_code == 404


async def test_health_needs_no_credential_and_tells_whether_sessions_can_be_served() -> None:
    async with edge() as it, ClientSession(f"http://127.0.0.1:{it.port}") as http:
        assert (await http.get("/v3/ws/health")).status == 200
        it.unready = "no word from the license proxy yet"
        response = await http.get("/v3/ws/health")
        assert response.status == 503
        assert "license" in await response.text()


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Unauthorized Connection: Missing Authorization header"),
        ({"Authorization": "Bearer self-hosted"}, "Unauthorized Connection: Invalid API key"),
        ({"Authorization": "wrong"}, "Unauthorized Connection: Invalid API key"),
    ],
)
async def test_a_client_without_the_right_word_hears_why_and_is_closed(headers: dict[str, str], text: str) -> None:
    async with edge() as it, it.client(additional_headers=headers) as client:
        assert await receive(client) == {"type": "Error", "error_code": 1008, "error": text}
        assert await ended(client) == (1008, "See Error message for details")
        assert len(it.sessions) == 0


async def test_the_word_may_come_as_a_token_parameter() -> None:
    async with edge() as it, it.client("/v3/ws?token=self-hosted", additional_headers={}) as client:
        assert (await receive(client))["type"] == "Begin"


async def test_a_temporary_token_opens_a_session_of_its_own_length_by_header_and_by_parameter() -> None:
    async with edge() as it, ClientSession(f"http://127.0.0.1:{it.port}", headers=SELF_HOSTED) as http:
        response = await http.get("/v3/token?expires_in_seconds=60&max_session_duration_seconds=120")
        assert response.status == 200
        body = await response.json()
        assert body["expires_in_seconds"] == 60
        token = body["token"]
        by_header = it.client(additional_headers={"Authorization": token})
        by_parameter = it.client(f"/v3/ws?sample_rate=16000&token={token}", additional_headers={})
        for client_of in (by_header, by_parameter):
            async with client_of as client:
                begin = await receive(client)
                assert begin["type"] == "Begin"
                assert abs(begin["expires_at"] - time.time() - 120) < 10


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("expires_in_seconds=60", {}, 401),
        ("expires_in_seconds=60", {"Authorization": "wrong"}, 401),
        ("expires_in_seconds=60", {"Authorization": "Bearer self-hosted"}, 200),
        ("", SELF_HOSTED, 422),
        ("expires_in_seconds=0", SELF_HOSTED, 422),
        ("expires_in_seconds=601", SELF_HOSTED, 422),
        ("expires_in_seconds=soon", SELF_HOSTED, 422),
        ("expires_in_seconds=60&max_session_duration_seconds=59", SELF_HOSTED, 422),
    ],
)
async def test_a_token_is_given_for_the_right_word_and_values_alone(
    query: str, headers: dict[str, str], status: int
) -> None:
    async with edge() as it, ClientSession(f"http://127.0.0.1:{it.port}") as http:
        assert (await http.get(f"/v3/token?{query}", headers=headers)).status == status


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("/v3/ws?sample_rate=7999", 3006, "sample_rate must be at least 8,000 Hz"),
        ("/v3/ws?encoding=flac", 3006, "'flac' is not a valid Encoding"),
        ("/v3/ws?speech_model=gpt-9", 3006, "Invalid 'speech_model': Input should be"),
        ("/v3/ws?speech_model=universal-streaming-multilingual", 3006, "not deployed"),
        ("/v3/ws?min_turn_silence=soon", 3006, "Invalid 'min_turn_silence'"),
    ],
)
async def test_a_bad_parameter_is_named_before_begin(target: str, code: int, text: str) -> None:
    async with edge() as it, it.client(target) as client:
        error = await receive(client)
        assert error["error_code"] == code
        assert text in error["error"]
        assert (await ended(client))[0] == code


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


async def test_sockets_beyond_the_limit_are_closed_and_those_within_go_on() -> None:
    async with edge(max_connections=1) as it, it.client() as client:
        await receive(client)
        with pytest.raises((ConnectionError, InvalidMessage)):
            await it.client()
        await client.send('{"type": "Terminate"}')
        assert (await receive(client))["type"] == "Termination"


async def test_a_full_gateway_refuses_with_3009() -> None:
    async with edge(max_sessions=1) as it, it.client() as first:
        await receive(first)
        async with it.client() as second:
            assert (await receive(second))["error_code"] == 3009
            assert (await ended(second))[0] == 3009
        assert it.sessions.refusals == {"too_many_sessions": 1}


async def test_a_full_pool_refuses_with_3009_at_once_and_is_counted() -> None:
    async with edge() as it:
        it.pools.free = 0
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 3009
        assert it.pools.refused == 1


async def test_a_license_that_admits_nobody_is_told_and_live_sessions_go_on() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.refusal = "the license has expired"
        async with it.client() as client:
            error = await receive(client)
            assert error["error_code"] == 1008
            assert "the license has expired" in error["error"]
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_a_retired_gateway_serves_what_it_has_and_takes_nothing_new() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.sessions.retirement.retire(1)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        it.sessions.retirement.resume(2)
        async with it.client() as client:
            assert (await receive(client))["type"] == "Begin"
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_admission_closes_when_the_buffers_fill_and_the_longest_backlog_ends_when_they_are_full() -> None:
    async with edge() as it, it.client() as small, it.client() as large:
        await receive(small)
        await receive(large)
        it.budget.limit = 100_000
        await small.send(bytes(1600))
        for _ in range(3):
            await large.send(bytes(24_000))
        await reached(lambda: it.budget.used >= 73_600)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        await large.send(bytes(32_000))
        assert (await receive(large))["error_code"] == 1013
        await small.send('{"type": "KeepAlive"}')
        assert len(it.sessions) == 1


async def test_tls_is_served_from_a_certificate_and_a_key(tmp_path: Path) -> None:
    certificate, key = write_self_signed(tmp_path, "localhost")
    trust = ssl.create_default_context(cafile=str(certificate))
    async with edge(tls=tls_context(str(certificate), str(key))) as it, it.client(ssl=trust) as client:
        assert (await receive(client))["type"] == "Begin"
        await client.send('{"type": "Terminate"}')
        assert (await receive(client))["type"] == "Termination"
        assert await ended(client) == (1000, "")


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"absent\.pem"):
        tls_context(str(tmp_path / "absent.pem"), str(tmp_path / "key.pem"))


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


async def test_the_report_counts_sessions_from_the_upgrade_on() -> None:
    async with edge() as it:
        assert it.sessions.report().sessions == 0
        async with it.client(additional_headers=SELF_HOSTED) as client:
            await receive(client)
            report = it.sessions.report()
            assert (report.sessions, report.admission.value, report.revision) == (1, "open", "r1")
            assert report.oldest_started_at is not None
            assert report.pools["english"].waiting == 1


async def test_a_query_as_long_as_the_protocol_allows_is_read() -> None:
    words = [f"{number:03d}" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 20 for number in range(100)]
    terms = quote(orjson.dumps(words))
    async with edge() as it, it.client(f"/v3/ws?keyterms_prompt={terms}") as client:
        assert (await receive(client))["type"] == "Begin"
        assert len(it.pools.serve().request.config.keyterms) == 100


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


@pytest.mark.parametrize(
    "request_bytes", [b"\x16\x03\x01\x02\x00\x01", b"POST / HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 40_000]
)
async def test_contained_what_is_no_websocket_request_is_answered_or_closed(request_bytes: bytes) -> None:
    async with edge() as it, it.client() as neighbour:
        await receive(neighbour)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(request_bytes)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        writer.close()
        await neighbour.send('{"type": "Terminate"}')
        assert (await receive(neighbour))["type"] == "Termination"


async def test_a_gateway_that_falls_behind_its_own_clock_admits_nobody_until_it_has_caught_up() -> None:
    async with edge() as it:
        for _ in range(20):
            it.sessions.tick(0.0, late_seconds=0.5)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        for _ in range(20):
            it.sessions.tick(0.0, late_seconds=0.0)
        async with it.client() as client:
            assert (await receive(client))["type"] == "Begin"


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


class SilentTransport(asyncio.Transport):
    """Takes what is written; nobody reads it."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Into the void."""

    def get_write_buffer_size(self) -> int:
        return 0
