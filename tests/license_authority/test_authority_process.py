import asyncio
import functools
import json
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamstack_common.keyring import parse_jwks
from support.authority_process import AuthorityProcess, authority_process
from support.certificates import write_self_signed
from support.postgresql import postgresql_server
from support.service import TOKEN, call
from support.usage_journal import UsageJournal, report
from support.waiting import eventually


async def metrics(authority: AuthorityProcess) -> dict[str, float]:
    status, text = await authority.get("/metrics")
    assert status == 200
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_probes_and_public_keys_are_open_and_nothing_else(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        assert await authority.get("/healthz", token=None) == (200, "ok\n")
        assert await authority.get("/readyz", token=None) == (200, "ok\n")
        assert len(parse_jwks(await authority.jwks(), source="test")) == 1
        closed = ["/metrics", "/v1/usage?from=2026-01-01&to=2026-01-01", "/v1/usage/sessions?customer=acme"]
        for path in [*closed, f"/v1/licenses/{'0' * 32}", "/v1/journals"]:
            for token in (None, TOKEN[::-1], "", f"ssk_{'0' * 16}_{'0' * 64}"):
                status, body = await authority.get(path, token=token)
                assert (status, list(body)) == (401, ["error"]), path
        for path in ["/v1/licenses", f"/v1/licenses/{'0' * 32}/revoke", f"/v1/journals/{'0' * 32}/import"]:
            assert (await authority.post(path, {}, token=None))[0] == 401


async def test_what_there_is_not_is_said_in_the_same_form(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        assert await authority.get("/nothing") == (404, {"error": "Not Found"})
        assert await authority.get("/v1/checkins") == (405, {"error": "Method Not Allowed"})
        assert (await authority.get("/docs"))[0] == 404


async def test_its_key_outlives_it_and_another_one_is_not_made(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        first, issued = await authority.jwks(), await authority.issue()
        assert await authority.stop() == 0
        assert "license authority stopped" in authority.log
    async with authority_process(tmp_path) as authority:
        assert await authority.jwks() == first
        assert (await authority.get(f"/v1/licenses/{issued.license_id}"))[0] == 200


async def test_it_speaks_tls_and_nothing_else_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = write_self_signed(tmp_path, "127.0.0.1")
    tls = {"TLS_CERTIFICATE_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    async with authority_process(tmp_path, **tls) as authority, aiohttp.ClientSession() as http:
        assert authority.url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(certificate))
        async with http.get(f"{authority.url}/healthz", ssl=trust) as answer:
            assert (answer.status, answer.headers.get("Server")) == (200, None)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await call(f"{authority.url}/healthz", token=None)
        with pytest.raises(aiohttp.ClientError):
            await call(f"http://127.0.0.1:{authority.port}/healthz", token=None)


async def test_metrics_count_what_was_said_and_taken(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued = await authority.issue()
        journal = UsageJournal.of([report("session-1", outcome="ended"), report("session-2")])
        journal.append("unreadable")
        for _ in range(3):
            assert (await authority.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200
        ask = {"license": issued.license, "nonce": "n" * 22, "instance_id": "proxy"}
        for token, status in [(issued.api_key, 200), (None, 401)]:
            assert (await authority.post("/v1/checkins", ask, token=token))[0] == status
        late = UsageJournal(bodies=["a", "b"])
        assert (await authority.post(late.path, late.upload(2), token=issued.api_key))[0] == 409
        counted = await metrics(authority)
        prefix = "streamstack_authority"
        assert counted[f"{prefix}_records_total/accepted"] == 3
        assert counted[f"{prefix}_records_total/duplicate"] == 6
        assert counted[f"{prefix}_records_total/unreadable"] == 1
        assert counted[f"{prefix}_checkins_total/good"] == 1
        assert counted[f"{prefix}_checkins_total/wrong_key"] == 1
        assert counted[f"{prefix}_uploads_refused_total/gap"] == 1
        assert counted[f"{prefix}_sessions_open"] == 1
        assert counted[f"{prefix}_orphans_closed_total"] == 0


async def test_without_its_database_it_lives_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    journal = UsageJournal.of([report()])
    with postgresql_server() as server:
        process = authority_process(tmp_path, DATABASE_URL=server.database_url())
        authority = await process.__aenter__()
        issued = await authority.issue()
    try:
        assert await authority.get("/healthz", token=None) == (200, "ok\n")
        assert await authority.get("/readyz", token=None) == (503, {"error": "the ledger does not answer"})
        status, body = await authority.post(journal.path, journal.upload(), token=issued.api_key)
        assert (status, list(body)) == (503, ["error"])
        assert await authority.stop() == 0
        assert "the ledger cannot be used" in authority.log
        assert "Traceback" not in authority.log
    finally:
        await process.__aexit__(None, None, None)


async def test_asked_to_stop_it_finishes_what_is_under_way(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report()])
        body = json.dumps(journal.upload()).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", authority.port)
        head = (
            f"POST {journal.path} HTTP/1.1\r\nHost: authority\r\nAuthorization: Bearer {issued.api_key}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        authority.terminate()
        await eventually(functools.partial(refuses_connections, authority.port))
        writer.write(body)
        assert b" 200 " in await reader.readline()
        writer.close()
        assert await authority.wait() == 0


async def test_an_address_that_is_taken_or_none_stops_it_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host, reason in [("127.0.0.1", "Address already in use"), ("192.0.2.1", "Cannot assign requested address")]:
            with pytest.raises(RuntimeError) as caught:
                async with authority_process(tmp_path, port=port, HOST=host, PUBLIC_URL="https://authority.example"):
                    raise AssertionError("it started")
            assert "exited 2" in str(caught.value)
            assert f"HOST, PORT: cannot listen at {host}:{port}: {reason}" in str(caught.value)
            assert "Traceback" not in str(caught.value)


async def refuses_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"SIGNING_KEY_FILE": "/dev/null"}, "signing key /dev/null: expected a private key in PEM"),
        ({"FORMER_SIGNING_KEY_FILES": "absent.pem"}, "signing key absent.pem: No such file"),
        ({"TLS_CERTIFICATE_FILE": "absent", "TLS_KEY_FILE": "absent"}, "TLS_CERTIFICATE_FILE, TLS_KEY_FILE: expected"),
        ({"DATABASE_URL": "sqlite:////dev/null/ledger"}, "DATABASE_URL: the ledger cannot be used"),
        ({"DATABASE_URL": "postgresql+psycopg://u:secret@/db?host=/absent"}, "DATABASE_URL: the ledger cannot be used"),
        ({"STREAMSTACK_CREDENTIAL_FILE": "absent"}, "credential file absent: No such file"),
    ],
)
async def test_a_configuration_it_cannot_use_stops_it_with_the_reason(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        async with authority_process(tmp_path, **environment):
            raise AssertionError("it started")
    assert "exited 2" in str(caught.value)
    assert complaint in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "secret" not in str(caught.value)
