"""Calls over real sockets: what comes back, and what people are told when nothing good does."""

import ssl
from pathlib import Path

import pytest
from aiohttp import web

from streamstack_cli import exit_codes
from streamstack_cli.http_api import RefusedError, Target, Trust, UnreachableError, connected
from streamstack_cli.license_commands import Issued
from streamstack_cli.stack import OptionsError
from support.certificates import write_self_signed
from support.http_double import answering, serving
from support.service import TOKEN, write_credential


async def test_the_token_of_the_file_is_sent_and_a_path_of_the_address_is_kept(tmp_path: Path) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.Response()

    async with serving(handler) as url, connected(Target(f"{url}/prefix/", write_credential(tmp_path))) as api:
        assert (await api.get("/v1/keys")).good() == b""
    async with serving(handler) as url, connected(Target(url)) as api:
        await api.get("/v1/keys")
    assert seen == [("/prefix/v1/keys", f"Bearer {TOKEN}"), ("/v1/keys", None)]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"error": "no such customer"}', "no such customer"),
        ('{"detail": [{"loc": ["body", "customer"]}]}', '[{"loc": ["body", "customer"]}]'),
        ("plain \x1b[31m words\n", "plain  [31m words"),
        ('{"error": "' + "x" * 900 + '"}', "x" * 300 + "..."),
    ],
)
async def test_a_refusal_is_told_in_the_words_of_who_refuses(body: str, told: str) -> None:
    async with serving(answering(body, status=403)) as url, connected(Target(url)) as api:
        answer = await api.get("/v1/keys")
        with pytest.raises(RefusedError) as caught:
            answer.good()
    assert str(caught.value) == f"GET {url}/v1/keys answered 403: {told}"
    assert (caught.value.http_status, caught.value.exit_status) == (403, exit_codes.REFUSED)


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    handler = answering("", status=307, Location="https://elsewhere.invalid/")
    async with serving(handler) as url, connected(Target(url)) as api:
        with pytest.raises(RefusedError, match="answered 307"):
            (await api.get("/")).good()


async def test_an_answer_without_end_is_read_no_further_than_allowed(tmp_path: Path) -> None:
    async with serving(answering(b"x" * 1001)) as url, connected(Target(url)) as api:
        with pytest.raises(UnreachableError, match="more than 1000 bytes"):
            await api.get("/", limit=1000)
        with (tmp_path / "file").open("wb") as file, pytest.raises(UnreachableError, match="more than 500 bytes"):
            await api.download("/", file, query={}, limit=500)


async def test_who_answers_something_else_is_none_of_ours() -> None:
    async with serving(answering("<html>")) as url, connected(Target(url)) as api:
        answer = await api.get("/v1/licenses")
        with pytest.raises(UnreachableError, match="answered what none of ours would: body: Invalid JSON"):
            answer.read(Issued)


async def test_nobody_there_is_said_with_the_address() -> None:
    async with serving(answering("")) as url:
        pass
    async with connected(Target(url)) as api:
        with pytest.raises(UnreachableError, match=f"GET {url}/v1/keys: Connection refused"):
            await api.get("/v1/keys")


async def test_a_name_that_nobody_has_is_told() -> None:
    async with connected(Target("https://nobody.invalid")) as api:
        with pytest.raises(UnreachableError, match=r"GET https://nobody.invalid/: [A-Z]"):
            await api.get("/")


async def test_a_certificate_is_believed_when_its_authority_is_given_and_not_otherwise(tmp_path: Path) -> None:
    certificate, key = write_self_signed(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with serving(answering("yes"), tls=context) as url:
        async with connected(Target(url, trust=Trust(ca_file=certificate))) as api:
            assert (await api.get("/")).good() == b"yes"
        async with connected(Target(url)) as api:
            with pytest.raises(UnreachableError, match=r"not trusted: .*certificate verify failed"):
                await api.get("/")


async def test_tls_to_somebody_who_does_not_speak_it_is_told() -> None:
    async with serving(answering("")) as url:
        secure = url.replace("http://", "https://")
        async with connected(Target(secure)) as api:
            with pytest.raises(UnreachableError, match=f"GET {secure}/: what answers there does not speak TLS"):
                await api.get("/")


async def test_a_certificate_of_ones_own_is_shown_to_who_asks_for_one(tmp_path: Path) -> None:
    certificate, key = write_self_signed(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    both = Trust(ca_file=certificate, certificate_file=certificate, key_file=key)
    async with serving(answering("yes"), tls=context) as url:
        async with connected(Target(url, trust=both)) as api:
            assert (await api.get("/")).good() == b"yes"
        async with connected(Target(url, trust=Trust(ca_file=certificate))) as api:
            with pytest.raises(UnreachableError, match=f"GET {url}/: "):
                await api.get("/")


def test_half_a_certificate_or_tls_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="expected both or neither"):
        Trust(certificate_file=tmp_path / "tls.crt")
    with pytest.raises(OptionsError, match="are for https://"):
        Target("http://localhost", trust=Trust(ca_file=tmp_path / "ca.crt"))


async def test_a_certificate_of_ones_own_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tls.crt"
    path.write_text("no certificate")
    with pytest.raises(OptionsError, match=f"--client-certificate {path}"):
        async with connected(Target("https://a.example", trust=Trust(certificate_file=path, key_file=path))):
            pass


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://a.example/x"])
def test_an_address_on_this_machine_or_with_tls_will_do(url: str) -> None:
    assert Target(url).url == url


@pytest.mark.parametrize("url", ["", "a.example", "ftp://a.example", "https://", "https://a/?b=c", "https://a/#b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(OptionsError, match="expected an address"):
        Target(url)


@pytest.mark.parametrize("url", ["http://a.example", "http://10.0.0.1:8080", "http://127.a.example"])
def test_a_token_goes_over_a_network_in_the_clear_only_where_asked(url: str) -> None:
    with pytest.raises(OptionsError, match="--allow-http"):
        Target(url)
    assert Target(url, trust=Trust(allow_http=True)).url == url


def test_a_password_in_an_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(OptionsError) as caught:
        Target("https://me:hunter2@a.example")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_an_authority_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionsError, match=f"--ca-file {path}: "):
        async with connected(Target("https://a.example", trust=Trust(ca_file=path))):
            pass


async def test_a_credential_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=f"credential file {tmp_path / 'credential'}: No such file"):
        async with connected(Target("https://a.example", tmp_path / "credential")):
            pass
