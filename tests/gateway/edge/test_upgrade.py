import asyncio
import ssl
import time
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientSession
from websockets.exceptions import InvalidStatus

from streamstack_gateway.edge.server import TlsError, tls_context
from support.certificates import write_self_signed
from support.edge import SELF_HOSTED, edge, ended, receive


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


async def test_a_query_as_long_as_the_protocol_allows_is_read() -> None:
    words = [f"{number:03d}" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 20 for number in range(100)]
    terms = quote(orjson.dumps(words))
    async with edge() as it, it.client(f"/v3/ws?keyterms_prompt={terms}") as client:
        assert (await receive(client))["type"] == "Begin"
        assert len(it.pools.serve().request.config.keyterms) == 100


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET //[x/v3/ws HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 40_000,
    ],
)
async def test_contained_what_is_no_websocket_request_is_answered_or_closed(request_bytes: bytes) -> None:
    async with edge() as it, it.client() as neighbour:
        await receive(neighbour)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(request_bytes)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        # What never becomes a line is not answered, only closed.
        assert answer.startswith(b"HTTP/1.1 4") or (b"\r\n" not in request_bytes and len(request_bytes) < 100)
        writer.close()
        await neighbour.send('{"type": "Terminate"}')
        assert (await receive(neighbour))["type"] == "Termination"
