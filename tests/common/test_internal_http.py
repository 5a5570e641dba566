import asyncio
import secrets
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
from streamstack_common.internal_http import MAX_BODY_BYTES, InternalHttp, authority, base_url

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
    folder: Path, *, host: str = "127.0.0.1", open_paths: frozenset[str] = frozenset()
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
    )

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {len(await request.read())}")

    http.get("/hello", hello)
    http.post("/hello", hello)
    http.get("/open", hello)
    port = await http.start(host, 0)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
            yield Service(http, client, registry, base_url(host, port), unready, stuck)
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
        with pytest.raises(OSError, match="in use"):
            await other.start("127.0.0.1", int(service.url.rpartition(":")[2]))
        await other.stop()


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
