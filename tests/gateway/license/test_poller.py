import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.license_status import LicenseState
from streamstack_gateway.license.memory import recall
from streamstack_gateway.license.poller import LicensePoller, PollPolicy
from streamstack_gateway.license.proxies import MAX_BODY_BYTES, Proxies, parse_endpoints
from streamstack_gateway.license.view import Terms
from support.license_process import license_process
from support.service import TOKEN, write_credential
from support.signer import Signer

READY = {"state": "Ready", "last_successful_checkin": None, "trust_expiration": None}
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Polling:
    """A started poller, and its changes to wait for."""

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        *,
        state_file: Path | None = None,
        clock: Clock | None = None,
        token: str = TOKEN,
    ) -> None:
        self.registry = CollectorRegistry()
        now: Callable[[], datetime] = clock or (lambda: datetime.now(UTC))
        self.poller = LicensePoller(
            Proxies(parse_endpoints(endpoint), Credential(write_credential(folder, token))),
            self.registry,
            state_file=state_file,
            policy=PollPolicy(interval_seconds=0.02, timeout_seconds=1.0, now=now),
        )
        self._changed = asyncio.Event()
        self.poller.on_change(self._changed.set)

    async def until(self, condition: Callable[[LicensePoller], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self.poller):
                self._changed.clear()
                await self._changed.wait()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"streamstack_gateway_license_{name}", labels)


@asynccontextmanager
async def polling(folder: Path, endpoint: str, **settings: Any) -> AsyncIterator[Polling]:
    started = Polling(folder, endpoint, **settings)
    await started.poller.start()
    try:
        yield started
    finally:
        await started.poller.stop()


class FakeProxy:
    """Answers ``/v1/license`` as told; counts, and keeps what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[], web.StreamResponse] = lambda: web.json_response(READY)
        self.polls = 0
        self.authorizations: set[str | None] = set()
        self._more = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.add(request.headers.get("Authorization"))
        self.polls += 1
        async with self._more:
            self._more.notify_all()
        return self.answer()

    async def more_polls(self, count: int = 2) -> None:
        """Wait until an answer given before this call has certainly been used."""
        enough = self.polls + count
        async with self._more, asyncio.timeout(30):
            await self._more.wait_for(lambda: self.polls >= enough)


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeProxy, str]]:
    proxy = FakeProxy()
    app = web.Application()
    app.router.add_get("/v1/license", proxy.handle)
    async with TestServer(app) as server:
        yield proxy, f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def two() -> AsyncIterator[tuple[FakeProxy, FakeProxy, str]]:
    first, second = FakeProxy(), FakeProxy()
    async with AsyncExitStack() as servers:
        urls = []
        for proxy in (first, second):
            app = web.Application()
            app.router.add_get("/v1/license", proxy.handle)
            server = await servers.enter_async_context(TestServer(app))
            urls.append(f"http://127.0.0.1:{server.port}")
        yield first, second, ",".join(urls)


def reachable(poller: LicensePoller) -> bool:
    return poller.view.reachable


def lost(poller: LicensePoller) -> bool:
    return not poller.view.reachable


async def test_a_told_state_admits_and_the_credential_is_sent(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    proxy, url = fake
    async with polling(tmp_path, url + "/") as gateway:
        assert gateway.poller.admits() is not None
        assert not gateway.poller.ever_known
        assert gateway.metric("state", state="Unknown") == 1
        async with asyncio.timeout(30):
            await gateway.poller.known()
        assert gateway.poller.admits() is None
        assert proxy.authorizations == {f"Bearer {TOKEN}"}
        told = {state: gateway.metric("state", state=state) for state in (*LicenseState, "Unknown")}
        assert {state for state, value in told.items() if value} == {"Ready"}
        assert gateway.metric("proxy_reachable") == 1
        assert gateway.metric("admits") == 1


async def test_failed_closes_and_ready_opens_again(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    proxy, url = fake
    async with polling(tmp_path, url) as gateway:
        await gateway.poller.known()
        proxy.answer = lambda: web.json_response({**READY, "state": "Failed"})
        await gateway.until(lambda poller: poller.admits() is not None)
        assert gateway.metric("state", state="Failed") == 1
        proxy.answer = lambda: web.json_response(READY)
        await gateway.until(lambda poller: poller.admits() is None)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda: web.Response(status=401), "answered 401; expected 200"),
        (lambda: web.Response(status=500), "answered 500"),
        (lambda: web.Response(status=302, headers={"Location": "/v1/license?elsewhere"}), "answered 302"),
        (lambda: web.Response(text="Failed"), "wrong body"),
        (lambda: web.json_response(["Failed"]), "wrong body"),
        (lambda: web.json_response({**READY, "state": "Failed", "max_sessions": 0}), "wrong max_sessions"),
        (lambda: web.json_response({**READY, "state": "failed"}), "wrong state"),
        (lambda: web.json_response({**READY, "trust_expiration": "soon"}), "wrong trust_expiration"),
        (lambda: web.json_response({**READY, "trust_expiration": "2026-01-01T12:00:00"}), "wrong trust_expiration"),
        (lambda: web.json_response({**READY, "state": "Failed", "x": "x" * MAX_BODY_BYTES}), "more than 262144 bytes"),
    ],
)
async def test_an_unusable_answer_is_unreachable_not_failed_and_logged_once(
    tmp_path: Path,
    fake: tuple[FakeProxy, str],
    caplog: pytest.LogCaptureFixture,
    answer: Callable[[], web.StreamResponse],
    complaint: str,
) -> None:
    proxy, url = fake
    async with polling(tmp_path, url) as gateway:
        await gateway.until(reachable)
        proxy.answer = answer
        await gateway.until(lost)
        await proxy.more_polls(4)
        assert gateway.poller.admits() is None
        assert gateway.poller.view.state is LicenseState.READY
        complaints = [line for line in caplog.messages if line.startswith("license proxy unreachable")]
        assert len(complaints) == 1
        assert complaint in complaints[0]
        proxy.answer = lambda: web.json_response(READY)
        await gateway.until(reachable)


async def test_the_end_of_trust_closes_admission_while_unreachable(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    proxy, url = fake
    clock = Clock()
    proxy.answer = lambda: web.json_response({**READY, "trust_expiration": "2026-01-01T13:00:00.000000Z"})
    async with polling(tmp_path, url, clock=clock) as gateway:
        await gateway.until(reachable)
        proxy.answer = lambda: web.Response(status=503)
        await gateway.until(lost)
        clock.now = NOW + timedelta(minutes=59)
        assert gateway.poller.admits() is None
        clock.now = NOW + timedelta(hours=1)
        assert gateway.poller.admits() is not None
        # The change is told as well, though no state arrived.
        await gateway.until(lambda poller: poller._noted[2] is False)


async def test_the_last_contact_is_remembered_at_intervals_and_at_the_end(
    tmp_path: Path, fake: tuple[FakeProxy, str]
) -> None:
    proxy, url = fake
    path, clock = tmp_path / "license.json", Clock()

    def remembered() -> datetime | None:
        told = recall(path)
        return told and told.heard_at

    async with polling(tmp_path, url, state_file=path, clock=clock):
        await proxy.more_polls()
        assert remembered() == NOW
        clock.now = NOW + timedelta(seconds=59)
        await proxy.more_polls()
        assert remembered() == NOW
        clock.now = NOW + timedelta(seconds=60)
        await proxy.more_polls(3)
        assert remembered() == NOW + timedelta(seconds=60)
        clock.now = NOW + timedelta(seconds=61)
        await proxy.more_polls()
    assert remembered() == NOW + timedelta(seconds=61)


async def test_a_memory_that_cannot_be_written_is_logged_once_and_does_not_stop_polling(
    tmp_path: Path, fake: tuple[FakeProxy, str], caplog: pytest.LogCaptureFixture
) -> None:
    proxy, url = fake
    async with polling(tmp_path, url, state_file=tmp_path / "absent" / "license.json") as gateway:
        await gateway.until(reachable)
        await proxy.more_polls(4)
        assert gateway.poller.admits() is None
    assert len([line for line in caplog.messages if "a restart will not know" in line]) == 1


async def test_a_restart_goes_on_with_what_was_told_before_the_proxy_is_reached(
    tmp_path: Path, fake: tuple[FakeProxy, str]
) -> None:
    proxy, url = fake
    path, clock = tmp_path / "license.json", Clock()
    async with polling(tmp_path, url, state_file=path, clock=clock) as before:
        await before.until(reachable)
    proxy.answer = lambda: web.Response(status=503)
    async with polling(tmp_path, url, state_file=path, clock=clock) as after:
        await proxy.more_polls()
        assert after.poller.ever_known
        assert after.poller.admits() is None
        clock.now = NOW + timedelta(days=4)
        assert after.poller.admits() is not None
        assert after.poller.ever_known


async def test_a_restart_remembers_failed(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    proxy, url = fake
    path = tmp_path / "license.json"
    proxy.answer = lambda: web.json_response({**READY, "state": "Failed"})
    async with polling(tmp_path, url, state_file=path) as before:
        await before.until(reachable)
    proxy.answer = lambda: web.Response(status=503)
    async with polling(tmp_path, url, state_file=path) as after:
        await proxy.more_polls()
        assert after.poller.admits() == "the license proxy says that the license is Failed"


async def test_a_corrupt_memory_is_as_if_absent(
    tmp_path: Path, fake: tuple[FakeProxy, str], caplog: pytest.LogCaptureFixture
) -> None:
    proxy, url = fake
    proxy.answer = lambda: web.Response(status=503)
    path = tmp_path / "license.json"
    path.write_text("{")
    async with polling(tmp_path, url, state_file=path) as gateway:
        await proxy.more_polls()
        assert not gateway.poller.ever_known
        assert gateway.poller.admits() is not None
    assert "starting without" in caplog.text
    assert path.read_text() == "{"


async def test_unreachable_is_not_failed_when_the_real_proxy_is_killed_and_comes_back(tmp_path: Path) -> None:
    state_file = tmp_path / "license.json"
    # An address of our own, so that nobody else can be given the port while the proxy is down.
    host = f"127.0.{os.getpid() % 250 + 2}.9"
    async with license_process(tmp_path, HOST=host) as proxy:
        async with polling(tmp_path, proxy.url, state_file=state_file) as gateway:
            await gateway.until(reachable)
            assert gateway.poller.admits() is None

            proxy.kill()
            await proxy.wait()
            await gateway.until(lost)
            assert gateway.poller.admits() is None
            assert gateway.poller.view.state is LicenseState.READY

        # A gateway that restarts during the outage goes on; one without the file admits nobody.
        async with (
            polling(tmp_path, proxy.url, state_file=state_file) as restarted,
            polling(tmp_path, proxy.url) as fresh,
        ):
            assert restarted.poller.ever_known
            assert restarted.poller.admits() is None
            assert fresh.poller.admits() is not None
            async with license_process(tmp_path, port=proxy.port, HOST=host) as again:
                assert again.url == proxy.url
                await restarted.until(reachable)
                await fresh.until(reachable)
                assert fresh.poller.admits() is None


async def test_a_license_revoked_at_the_real_proxy_closes_admission_and_its_renewal_opens_it(tmp_path: Path) -> None:
    signer, now = Signer(), int(datetime.now(UTC).timestamp())
    license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
    keys_file.write_bytes(signer.jwks())
    good = signer.token(nbf=now - 100, exp=now + 1000)
    license_file.write_bytes(good)
    async with (
        license_process(tmp_path, license_file=license_file, keys_file=keys_file) as proxy,
        polling(tmp_path, proxy.url) as gateway,
    ):
        await gateway.until(lambda poller: poller.admits() is None)
        license_file.write_bytes(signer.token(nbf=now - 100, exp=now - 1))
        await gateway.until(lambda poller: poller.admits() is not None)
        assert gateway.poller.view.state is LicenseState.FAILED
        license_file.write_bytes(good)
        await gateway.until(lambda poller: poller.admits() is None)


class Heard(logging.Handler):
    """Sets an event at the first line of the poller's log."""

    def __init__(self) -> None:
        super().__init__()
        self.something = asyncio.Event()

    def emit(self, _record: logging.LogRecord) -> None:
        self.something.set()


async def test_a_wrong_credential_is_unreachable_at_the_real_proxy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, heard = tmp_path / "other", Heard()
    other.mkdir()
    log = logging.getLogger("streamstack_gateway.license.poller")
    log.addHandler(heard)
    try:
        async with license_process(tmp_path) as proxy, polling(other, proxy.url, token=TOKEN[::-1]) as gateway:
            async with asyncio.timeout(30):
                await heard.something.wait()
            assert not gateway.poller.ever_known
            assert gateway.poller.admits() is not None
    finally:
        log.removeHandler(heard)
    assert "answered 401" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN[::-1] not in caplog.text


async def test_what_a_gateway_keeps_holds_no_secret(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    _, url = fake
    path = tmp_path / "license.json"
    async with polling(tmp_path, url, state_file=path) as gateway:
        await gateway.until(reachable)
    assert set(json.loads(path.read_text())) == {
        *("version", "state", "trust_expiration", "heard_at"),
        *("billing", "max_sessions", "models"),
    }


async def test_the_next_proxy_is_asked_where_one_fails_and_kept_while_it_answers(
    tmp_path: Path, two: tuple[FakeProxy, FakeProxy, str], caplog: pytest.LogCaptureFixture
) -> None:
    first, second, urls = two
    async with polling(tmp_path, urls) as gateway:
        await first.more_polls()
        assert second.polls == 0
        first.answer = lambda: web.Response(status=503)
        await second.more_polls()
        asked = first.polls
        await second.more_polls()
        assert first.polls == asked
        assert gateway.poller.view.reachable
        assert "unreachable" not in caplog.text
        second.answer = lambda: web.Response(status=500)
        await gateway.until(lost)
        assert "answered 503" in caplog.text
        assert "answered 500" in caplog.text
        first.answer = lambda: web.json_response(READY)
        await gateway.until(reachable)


async def test_the_terms_of_the_last_authentic_license_hold_and_are_remembered(
    tmp_path: Path, fake: tuple[FakeProxy, str]
) -> None:
    proxy, url = fake
    path = tmp_path / "license.json"
    terms = {"billing": "usage", "max_sessions": 7, "models": ["english"]}
    proxy.answer = lambda: web.json_response({**READY, **terms})
    async with polling(tmp_path, url, state_file=path) as before:
        await before.until(reachable)
        assert before.poller.terms == Terms("usage", 7, ("english",))
        # Without an authentic license there are none to tell.
        proxy.answer = lambda: web.json_response({**READY, "state": "Failed", "cause": "missing_file"})
        await before.until(lambda poller: poller.admits() is not None)
        assert before.poller.terms == Terms("usage", 7, ("english",))
    proxy.answer = lambda: web.Response(status=503)
    async with polling(tmp_path, url, state_file=path) as after:
        assert after.poller.terms == Terms("usage", 7, ("english",))


async def test_a_proxy_of_the_version_before_is_understood(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    proxy, url = fake
    old = {"state": "Ready", "customer": "acme", "license_id": "1", "billing": "flat", "max_sessions": 3}
    proxy.answer = lambda: web.json_response({**old, "models": ["*"], "cause": None, "reason": None})
    async with polling(tmp_path, url) as gateway:
        await gateway.until(reachable)
        assert gateway.poller.admits() is None
        assert gateway.poller.terms == Terms("flat", 3, ("*",))


async def test_stopping_before_starting_and_twice_is_fine(tmp_path: Path, fake: tuple[FakeProxy, str]) -> None:
    gateway = Polling(tmp_path, fake[1])
    await gateway.poller.stop()
    gateway = Polling(tmp_path, fake[1])
    await gateway.poller.start()
    await gateway.poller.stop()
    await gateway.poller.stop()
