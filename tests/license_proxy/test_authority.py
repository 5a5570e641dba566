import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from streamstack_common.authority import MAX_ANSWER_BYTES, CheckIn, Upload, UploadAnswer
from streamstack_common.internal_http import load_authorities, load_certificate, server_tls
from streamstack_license_proxy import authority as module
from streamstack_license_proxy.authority import (
    Authority,
    AuthorityError,
    AuthorityRefusedError,
    AuthorityUnreachableError,
    endpoint_problem,
)
from support.certificates import write_self_signed

QUESTION = CheckIn(license="the.license.itself", nonce="n" * 32, instance_id="proxy-1")
UPLOAD = Upload(first=1, after="0" * 64, head="1" * 64, records=('{"session_id":"x"}',))
JOURNAL = "a" * 32
KEY = "the-api-key-itself"

Handler = Callable[[web.Request], web.Response]


class Server:
    """Anything that answers HTTP."""

    def __init__(self) -> None:
        self.answer: Handler = lambda _: web.json_response({"answer": "a.b.c"})
        self.requests: list[tuple[str, str | None, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization"), await request.text()))
        return self.answer(request)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def client(
    url: str | None, *, key: str | None = KEY, tls: ssl.SSLContext | None = None, insecure: bool = False
) -> Authority:
    return Authority(endpoint=lambda: url, api_key=lambda: key, tls=tls, insecure=insecure)


async def test_a_check_in_carries_the_key_only_where_it_is_asked_to() -> None:
    async with serving() as server, client(server.url + "/base/") as authority:
        assert await authority.check_in(QUESTION, with_key=False) == "a.b.c"
        assert await authority.check_in(QUESTION, with_key=True) == "a.b.c"
    (path, without, body), (_, with_key, _) = server.requests
    assert (path, without, with_key) == ("/base/v1/checkins", None, f"Bearer {KEY}")
    assert CheckIn.model_validate_json(body) == QUESTION


async def test_an_upload_is_answered_with_what_the_ledger_has() -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.json_response({"next": 2})
        assert await authority.upload(JOURNAL, UPLOAD) == UploadAnswer(next=2)
        server.answer = lambda _: web.json_response({"next": 1, "problem": "gap", "error": "x"}, status=409)
        assert await authority.upload(JOURNAL, UPLOAD) == UploadAnswer(next=1, problem="gap")
    path, key, body = server.requests[0]
    assert (path, key) == (f"/v1/journals/{JOURNAL}/records", f"Bearer {KEY}")
    assert Upload.model_validate_json(body) == UPLOAD


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_no_is_told_apart_from_no_answer(status: int) -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.json_response({"error": f"you sent {KEY}"}, status=status)
        for call in (authority.check_in(QUESTION, with_key=True), authority.upload(JOURNAL, UPLOAD)):
            with pytest.raises(AuthorityRefusedError, match=str(status)) as caught:
                await call
            assert caught.value.status == status
            assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 308, 408, 425, 429, 500, 502, 503, 504])
async def test_what_may_be_otherwise_another_time_is_no_answer(status: int) -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.Response(status=status, headers={"Location": "/elsewhere"})
        with pytest.raises(AuthorityUnreachableError, match=f"answered {status}"):
            await authority.check_in(QUESTION, with_key=True)
    assert [path for path, _, _ in server.requests] == ["/v1/checkins"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"answer": 1}', b'{"answer": ""}', b"\xff\xfe"])
async def test_something_else_that_says_200_is_no_authority(body: bytes) -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.Response(body=body)
        with pytest.raises(AuthorityUnreachableError, match="no license authority"):
            await authority.check_in(QUESTION, with_key=True)


@pytest.mark.parametrize(
    ("status", "body"),
    [(409, {"next": 2}), (200, {"next": 2, "problem": "gap"}), (409, {"error": "x"}), (200, {"next": 0})],
)
async def test_an_answer_to_an_upload_that_says_two_things_acknowledges_nothing(
    status: int, body: dict[str, object]
) -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.json_response(body, status=status)
        with pytest.raises(AuthorityUnreachableError):
            await authority.upload(JOURNAL, UPLOAD)


async def test_an_endless_answer_is_cut_off() -> None:
    async with serving() as server, client(server.url) as authority:
        server.answer = lambda _: web.Response(body=b" " * (MAX_ANSWER_BYTES + 1))
        with pytest.raises(AuthorityUnreachableError, match="more than"):
            await authority.check_in(QUESTION, with_key=True)


async def test_one_that_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client(f"http://127.0.0.1:{silent.getsockname()[1]}") as authority:
            with pytest.raises(AuthorityUnreachableError):
                await authority.check_in(QUESTION, with_key=True)


async def test_nobody_there() -> None:
    async with client("http://127.0.0.1:9") as authority:
        with pytest.raises(AuthorityUnreachableError, match=r"127\.0\.0\.1:9"):
            await authority.check_in(QUESTION, with_key=True)


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "nowhere.invalid", "\u2100"])
async def test_a_name_that_is_none_is_nobody_there(host: str) -> None:
    async with client(f"https://{host}") as authority:
        with pytest.raises(AuthorityUnreachableError):
            await authority.check_in(QUESTION, with_key=True)


async def test_without_an_address_or_a_key_it_says_which_setting_is_missing() -> None:
    async with client(None) as authority:
        with pytest.raises(AuthorityUnreachableError, match="LICENSE_AUTHORITY_ENDPOINT"):
            await authority.check_in(QUESTION, with_key=True)
    async with serving() as server, client(server.url, key=None) as authority:
        with pytest.raises(AuthorityRefusedError, match="USAGE_TRACKING_API_KEY"):
            await authority.upload(JOURNAL, UPLOAD)
        assert not server.requests


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://authority.example", None),
        ("https://authority.example:8443/path", None),
        ("http://localhost:1", None),
        ("http://127.8.9.1", None),
        ("http://[::1]:1", None),
        ("http://authority.example", "https://"),
        ("http://10.0.0.1", "LICENSE_AUTHORITY_INSECURE"),
        ("http://localhost.example", "https://"),
        ("https://user:word@authority.example", "password"),
        ("https://authority.example?a=b", "expected"),
        ("https://authority.example#a", "expected"),
        ("https://", "expected"),
        ("https://host:port", "expected"),
        ("ftp://authority.example", "expected"),
        ("authority.example", "expected"),
        ("https://[::1", "expected"),
    ],
)
def test_only_what_cannot_be_read_on_the_way_is_an_endpoint(url: str, problem: str | None) -> None:
    said = endpoint_problem(url, insecure=False)
    assert (said is None) is (problem is None)
    assert problem is None or problem in (said or "")


def test_http_beyond_loopback_has_to_be_asked_for() -> None:
    assert endpoint_problem("http://10.0.0.1", insecure=True) is None


async def test_a_license_that_names_an_authority_in_the_clear_is_sent_nowhere() -> None:
    async with client("http://10.0.0.1") as authority:
        with pytest.raises(AuthorityError, match=r"\(iss\): expected https://"):
            await authority.check_in(QUESTION, with_key=True)


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    made = {}
    for name in ("authority", "proxy", "other"):
        (tmp_path / name).mkdir()
        made[name] = write_self_signed(tmp_path / name, "127.0.0.1")
    return made


def trusting(ca_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context, ca_file)
    return context


async def test_tls_wants_the_certificate_of_the_ca_that_was_named(certificates: dict[str, tuple[Path, Path]]) -> None:
    async with serving(server_tls(*certificates["authority"])) as server:
        async with client(server.url, tls=trusting(certificates["authority"][0])) as authority:
            assert await authority.check_in(QUESTION, with_key=True) == "a.b.c"
        for wrong in (trusting(certificates["other"][0]), None):
            async with client(server.url, tls=wrong) as authority:
                with pytest.raises(AuthorityUnreachableError, match=r"(?i)certificate"):
                    await authority.check_in(QUESTION, with_key=True)
    assert len(server.requests) == 1


async def test_the_proxy_shows_a_certificate_of_its_own(certificates: dict[str, tuple[Path, Path]]) -> None:
    wants_one = server_tls(*certificates["authority"], certificates["proxy"][0])
    wants_one.verify_mode = ssl.CERT_REQUIRED
    with_one = trusting(certificates["authority"][0])
    load_certificate(with_one, *certificates["proxy"])
    async with serving(wants_one) as server:
        async with client(server.url, tls=with_one) as authority:
            assert await authority.check_in(QUESTION, with_key=True) == "a.b.c"
        async with client(server.url, tls=trusting(certificates["authority"][0])) as authority:
            with pytest.raises(AuthorityUnreachableError):
                await authority.check_in(QUESTION, with_key=True)
