import asyncio
import logging
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from streamstack_common.credential import Credential
from streamstack_common.internal_http import (
    MAX_BODY_BYTES,
    InternalHttp,
    ListenError,
    TlsFilesError,
    authority,
    base_url,
    load_authorities,
    load_certificate,
    server_tls,
)
from support.certificates import write_self_signed

TOKEN = secrets.token_hex(16)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Service:
    http: InternalHttp
    client: aiohttp.ClientSession
    registry: CollectorRegistry
    url: str = ""
    unready: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    open_paths: frozenset[str] = frozenset(),
    tls: ssl.SSLContext | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> AsyncIterator[Service]:
    path = folder / "credential"
    path.write_text(TOKEN)
    registry = CollectorRegistry()
    unready: list[str] = []
    stuck: list[str] = []
    http = InternalHttp(
        credential=Credential(path),
        registry=registry,
        ready=lambda: unready[0] if unready else None,
        alive=lambda: stuck[0] if stuck else None,
        open_paths=open_paths,
        tls=tls,
        max_body_bytes=max_body_bytes,
    )

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {len(await request.read())}")

    http.get("/hello", hello)
    http.post("/hello", hello)
    http.get("/open", hello)
    port = await http.start(host, 0)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
            yield Service(http, client, registry, base_url(host, port, secure=tls is not None), unready, stuck)
    finally:
        await http.stop()


async def ask(service: Service, path: str, *, method: str = "GET", **options: object) -> tuple[int, str]:
    async with service.client.request(method, service.url + path, **options) as response:  # type: ignore[arg-type]
        return response.status, await response.text()


async def test_probes_are_open_and_say_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert await ask(service, "/healthz") == (200, "ok\n")
        assert await ask(service, "/readyz") == (200, "ok\n")
        service.unready.append("retired")
        assert await ask(service, "/readyz") == (503, "retired\n")
        assert await ask(service, "/healthz") == (200, "ok\n")
        service.stuck.append("does not get on")
        assert await ask(service, "/healthz") == (503, "does not get on\n")


@pytest.mark.parametrize("path", ["/metrics", "/hello", "/nowhere", "/", "/healthz/", "//healthz", "/open"])
async def test_everything_else_wants_the_credential(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as service:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN[::-1]}"}, {"Authorization": TOKEN}):
            status, text = await ask(service, path, headers=headers)
            assert status == 401
            assert "Authorization: Bearer" in text
            assert TOKEN not in text
        assert (await ask(service, path, headers=BEARER))[0] != 401


async def test_a_service_may_name_further_open_paths(tmp_path: Path) -> None:
    async with serving(tmp_path, open_paths=frozenset({"/open"})) as service:
        assert (await ask(service, "/open"))[0] == 200
        assert (await ask(service, "/healthz"))[0] == 200
        assert (await ask(service, "/hello"))[0] == 401


async def test_metrics_are_those_of_the_registry(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        Counter("calls", "Calls", registry=service.registry).inc(3)
        async with service.client.get(service.url + "/metrics", headers=BEARER) as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            families = list(text_string_to_metric_families(await response.text()))
        assert {sample.name: sample.value for sample in families[0].samples}["calls_total"] == 3


async def test_handlers_are_served_and_bodies_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert await ask(service, "/hello", headers=BEARER) == (200, "hello 0")
        fits, too_long = b"x" * MAX_BODY_BYTES, b"x" * (MAX_BODY_BYTES + 1)
        assert await ask(service, "/hello", method="POST", headers=BEARER, data=fits) == (200, f"hello {len(fits)}")
        assert (await ask(service, "/hello", method="POST", headers=BEARER, data=too_long))[0] == 413


async def test_a_service_may_take_longer_bodies(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body_bytes=MAX_BODY_BYTES * 4) as service:
        fits, too_long = b"x" * MAX_BODY_BYTES * 4, b"x" * (MAX_BODY_BYTES * 4 + 1)
        assert (await ask(service, "/hello", method="POST", headers=BEARER, data=fits))[0] == 200
        assert (await ask(service, "/hello", method="POST", headers=BEARER, data=too_long))[0] == 413


Files = dict[str, tuple[Path, Path]]


@pytest.fixture
def certificates(tmp_path: Path) -> Files:
    made: Files = {}
    for name in ("server", "caller", "stranger"):
        (tmp_path / name).mkdir()
        made[name] = write_self_signed(tmp_path / name, "127.0.0.1")
    return made


def caller(certificates: Files, *, shows: str | None = None, trusts: str = "server") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context, certificates[trusts][0])
    if shows is not None:
        load_certificate(context, *certificates[shows])
    return context


async def test_with_a_certificate_only_tls_is_spoken(tmp_path: Path, certificates: Files) -> None:
    async with serving(tmp_path, tls=server_tls(*certificates["server"])) as service:
        assert service.url.startswith("https://")
        assert await ask(service, "/hello", headers=BEARER, ssl=caller(certificates)) == (200, "hello 0")
        assert (await ask(service, "/hello", ssl=caller(certificates)))[0] == 401
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(service, "/healthz", ssl=caller(certificates, trusts="stranger"))
        service.url = service.url.replace("https://", "http://")
        with pytest.raises(aiohttp.ClientError):
            await ask(service, "/healthz")


async def test_with_a_ca_of_callers_only_probes_and_open_paths_do_without_a_certificate(
    tmp_path: Path, certificates: Files
) -> None:
    tls = server_tls(*certificates["server"], certificates["caller"][0])
    async with serving(tmp_path, tls=tls, open_paths=frozenset({"/open"})) as service:
        with_one, without = caller(certificates, shows="caller"), caller(certificates)
        assert await ask(service, "/hello", headers=BEARER, ssl=with_one) == (200, "hello 0")
        for path in ("/healthz", "/readyz", "/open"):
            assert (await ask(service, path, ssl=without))[0] == 200
        for path in ("/hello", "/metrics", "/nowhere"):
            status, text = await ask(service, path, headers=BEARER, ssl=without)
            assert (status, "client certificate" in text) == (403, True)
        # Certificate and credential: one does not stand for the other.
        assert (await ask(service, "/hello", ssl=with_one))[0] == 401


async def test_a_certificate_of_another_ca_gets_nowhere(tmp_path: Path, certificates: Files) -> None:
    tls = server_tls(*certificates["server"], certificates["caller"][0])
    async with serving(tmp_path, tls=tls) as service:
        with pytest.raises(aiohttp.ClientError):
            await ask(service, "/healthz", ssl=caller(certificates, shows="stranger"))


def test_files_that_cannot_be_used_are_named_without_what_is_in_them(tmp_path: Path, certificates: Files) -> None:
    certificate, key = certificates["server"]
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("a secret by mistake")
    for arguments, complaint in (
        ((tmp_path / "absent", key), "absent"),
        ((certificate, certificates["caller"][1]), "expected a PEM certificate and its PEM key"),
        ((certificate, nonsense), "nonsense.pem: expected"),
        ((certificate, key, nonsense), "nonsense.pem: expected PEM certificates"),
        ((certificate, key, tmp_path / "absent"), "absent: No such file"),
    ):
        with pytest.raises(TlsFilesError, match=complaint) as caught:
            server_tls(*arguments)
        assert "by mistake" not in str(caught.value)


async def test_stopping_does_not_wait_for_idle_connections_and_frees_the_port(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert (await ask(service, "/healthz"))[0] == 200
        async with asyncio.timeout(20):
            await service.http.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(service, "/healthz")


async def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        other = InternalHttp(credential=Credential(tmp_path / "credential"), registry=service.registry, ready=str)
        port = int(service.url.rpartition(":")[2])
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1 port {port}: Address already in use"):
            await other.start("127.0.0.1", port)
        await other.stop()


BEFORE_BODY = f"POST /hello HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
UNREADABLE = {
    "stray byte": f"GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n",
    "stray space": f"GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization : Bearer {TOKEN}\r\n\r\n",
    "not HTTP": f"Bearer {TOKEN}\r\n\r\n",
    "no path": f"GET Bearer {TOKEN} HTTP/1.1\r\n\r\n",
    "too long": f"GET /metrics HTTP/1.1\r\nAuthorization: Bearer {TOKEN}{'x' * 10_000}\r\n\r\n",
    "second request": f"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /metrics {TOKEN} \x00\r\n\r\n",
    "length": f"{BEFORE_BODY}Content-Length: {TOKEN}\r\n\r\n",
    "chunk": f"{BEFORE_BODY}Transfer-Encoding: chunked\r\n\r\n{TOKEN}zz\r\n\r\n",
    "later chunk": f"{BEFORE_BODY}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\nz{TOKEN}\r\n\r\n",
    "encoding": f"{BEFORE_BODY}Content-Encoding: gzip\r\nContent-Length: {len(TOKEN)}\r\n\r\n{TOKEN}",
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=list(UNREADABLE))
async def test_what_cannot_be_read_is_repeated_neither_in_the_log_nor_in_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    async with serving(tmp_path) as service:
        host, _, port = service.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.encode("latin-1"))
        async with asyncio.timeout(20):
            answered = (await reader.read()).decode()
        writer.close()
    assert " 400 Bad Request" in answered
    assert answered.endswith('{"error": "expected a request of HTTP/1.1"}')
    for words in (answered, caplog.text):
        assert TOKEN not in words
        assert "Traceback" not in words
    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert lines
    assert all(line.startswith("a request cannot be read: ") for line in lines)


async def test_a_defect_of_ours_is_logged_whole_and_answered_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("the reason")

    async with serving(tmp_path) as service:
        service.http.get("/broken", broken)
        status, text = await ask(service, "/broken", headers=BEARER)
    assert (status, "the reason" in text) == (500, False)
    assert "RuntimeError: the reason" in caplog.text


@pytest.mark.parametrize("host", ["::1", "0.0.0.0", "localhost"])
async def test_any_form_of_address_can_be_listened_on(tmp_path: Path, host: str) -> None:
    try:
        async with serving(tmp_path, host=host) as service:
            assert await ask(service, "/healthz") == (200, "ok\n")
    except OSError as error:
        if host != "::1" or "assign" not in str(error):
            raise
        pytest.skip("no IPv6 here")


def test_an_authority_is_what_a_grpc_channel_wants() -> None:
    assert authority("0.0.0.0", 80) == "127.0.0.1:80"
    assert authority("::", 80) == "[::1]:80"


def test_a_base_url_names_an_address_that_can_be_called() -> None:
    assert base_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert base_url("::", 80) == "http://[::1]:80"
    assert base_url("fe80::1", 80) == "http://[fe80::1]:80"
    assert base_url("10.0.0.1", 80) == "http://10.0.0.1:80"
