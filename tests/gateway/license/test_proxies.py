"""Reaching license proxies: addresses, TLS both ways, certificates that are renewed."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from streamstack_common.credential import Credential
from streamstack_gateway.license.proxies import Proxies, ProxiesAwayError, parse_endpoints, proxy_client
from streamstack_gateway.license.tls import ProxyTls, ProxyTlsError, ProxyTlsFiles
from support.certificates import write_self_signed
from support.service import write_credential

HOST = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("http://proxy:8082", ("http://proxy:8082",)),
        ("http://one:1/, https://two:2", ("http://one:1", "https://two:2")),
    ],
)
def test_endpoints_are_separated_by_commas(text: str, endpoints: tuple[str, ...]) -> None:
    assert parse_endpoints(text) == endpoints


@pytest.mark.parametrize("text", ["", " , ", "proxy:8082", "ftp://proxy", "http://", "http://a,b", "http://a b"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT"):
        parse_endpoints(text)


def test_a_password_has_no_place_in_an_endpoint_and_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse_endpoints("https://me:secret@proxy:1")
    assert "secret" not in str(refused.value)


class Certified:
    """A folder with a certificate and its key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.certificate, self.key = write_self_signed(folder, HOST)


@asynccontextmanager
async def proxy(server: Certified, *, client_authority: Path | None = None) -> AsyncIterator[str]:
    """A proxy of https that, where told, wants certificates of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="heard")

    app = web.Application()
    app.router.add_get("/v1/license", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    try:
        yield f"https://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(folder: Path, url: str, tls: ProxyTls) -> str:
    proxies = Proxies((url,), Credential(write_credential(folder)), tls)
    async with proxy_client(proxies, timeout_seconds=10) as client:
        return await client.ask("GET", "/v1/license", parse=bytes.decode)


async def test_a_proxy_is_believed_with_the_named_authority_alone(tmp_path: Path) -> None:
    server, other = Certified(tmp_path / "server"), Certified(tmp_path / "other")
    async with proxy(server) as url:
        assert await ask(tmp_path, url, ProxyTls(ProxyTlsFiles(server.certificate))) == "heard"
        for files in (ProxyTlsFiles(other.certificate), ProxyTlsFiles()):
            with pytest.raises(ProxiesAwayError, match=r"(?i)certificate"):
                await ask(tmp_path, url, ProxyTls(files))


async def test_a_proxy_that_wants_a_certificate_gets_the_gateways(tmp_path: Path) -> None:
    server, gateway = Certified(tmp_path / "server"), Certified(tmp_path / "gateway")
    async with proxy(server, client_authority=gateway.certificate) as url:
        mutual = ProxyTlsFiles(server.certificate, gateway.certificate, gateway.key)
        assert await ask(tmp_path, url, ProxyTls(mutual)) == "heard"
        with pytest.raises(ProxiesAwayError):
            await ask(tmp_path, url, ProxyTls(ProxyTlsFiles(server.certificate)))


async def test_renewed_certificates_are_read_again_and_unusable_ones_change_nothing(tmp_path: Path) -> None:
    server, renewed = Certified(tmp_path / "server"), Certified(tmp_path / "renewed")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(server.certificate.read_bytes())
    tls = ProxyTls(ProxyTlsFiles(trusted))
    async with proxy(server) as old, proxy(renewed) as new:
        assert await ask(tmp_path, old, tls) == "heard"
        with pytest.raises(ProxiesAwayError):
            await ask(tmp_path, new, tls)
        trusted.write_text("half of a certifica")
        assert await ask(tmp_path, old, tls) == "heard"
        trusted.unlink()
        assert await ask(tmp_path, old, tls) == "heard"
        trusted.write_bytes(renewed.certificate.read_bytes())
        assert await ask(tmp_path, new, tls) == "heard"


def test_files_that_cannot_be_used_are_named_at_start(tmp_path: Path) -> None:
    server, other = Certified(tmp_path / "server"), Certified(tmp_path / "other")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for files, named in (
        (ProxyTlsFiles(tmp_path / "absent.pem"), "LICENSE_CA_FILE"),
        (ProxyTlsFiles(nonsense), "LICENSE_CA_FILE"),
        (ProxyTlsFiles(None, server.certificate, tmp_path / "absent.pem"), "LICENSE_CLIENT_KEY_FILE"),
        (ProxyTlsFiles(None, server.certificate, other.key), "LICENSE_CLIENT_CERTIFICATE_FILE"),
    ):
        with pytest.raises(ProxyTlsError, match=named):
            ProxyTls(files)
