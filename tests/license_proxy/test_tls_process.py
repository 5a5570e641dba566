"""TLS of the proxy: to the license authority, and on its own port."""

import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from streamstack_common.internal_http import load_authorities, load_certificate
from support.authority_process import authority_process
from support.certificates import write_self_signed
from support.license_process import LicenseProcess, license_process, proxy_of
from support.service import TOKEN

Files = dict[str, tuple[Path, Path]]


@pytest.fixture
def certificates(tmp_path: Path) -> Files:
    made: Files = {}
    for name in ("authority", "proxy", "gateway", "stranger"):
        (tmp_path / name).mkdir()
        made[name] = write_self_signed(tmp_path / name, "127.0.0.1")
    return made


def serving_tls(pair: tuple[Path, Path]) -> dict[str, str]:
    return {"TLS_CERTIFICATE_FILE": str(pair[0]), "TLS_KEY_FILE": str(pair[1])}


async def ask(proxy: LicenseProcess, path: str, context: ssl.SSLContext, *, token: str | None = TOKEN) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
        http.get(proxy.url + path, headers=headers, ssl=context) as response,
    ):
        return response.status


def caller(certificates: Files, *, shows: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context, certificates["proxy"][0])
    if shows is not None:
        load_certificate(context, *certificates[shows])
    return context


async def test_the_authority_is_believed_by_the_ca_that_was_named_alone(tmp_path: Path, certificates: Files) -> None:
    async with authority_process(tmp_path) as plain:
        issued = await plain.issue()
        (tmp_path / "keys.json").write_bytes(await plain.jwks())
    async with authority_process(tmp_path, **serving_tls(certificates["authority"])) as authority:
        assert authority.url.startswith("https://")
        at = {"LICENSE_AUTHORITY_ENDPOINT": authority.url}
        trusted = {**at, "LICENSE_AUTHORITY_CA_FILE": str(certificates["authority"][0])}
        async with proxy_of(tmp_path, authority, issued, **trusted) as proxy:
            assert (await proxy.status())["state"] == "Connected"
        for untrusted in (at, {**at, "LICENSE_AUTHORITY_CA_FILE": str(certificates["stranger"][0])}):
            with pytest.raises(RuntimeError, match=r"(?is)exited 1.*certificate verify failed") as caught:
                async with proxy_of(tmp_path, authority, issued, **untrusted):
                    raise AssertionError("it started")
            assert "Traceback" not in str(caught.value)


async def test_its_own_port_speaks_tls_and_its_image_can_ask_for_its_health(
    tmp_path: Path, certificates: Files
) -> None:
    async with license_process(tmp_path, **serving_tls(certificates["proxy"])) as proxy:
        assert proxy.url.startswith("https://")
        assert await ask(proxy, "/v1/status", caller(certificates)) == 200
        assert await ask(proxy, "/v1/status", caller(certificates), token=None) == 401
        command = [
            *(sys.executable, "-m", "streamstack_common.health_check"),
            *("http://localhost:${HTTP_PORT:-8080}/health", "TLS_CERTIFICATE_FILE"),
        ]
        environment = {"HTTP_PORT": str(proxy.port), "TLS_CERTIFICATE_FILE": str(certificates["proxy"][0])}
        subprocess.run(command, check=True, env=environment)


async def test_callers_need_a_certificate_where_a_ca_for_them_is_named_but_for_probes(
    tmp_path: Path, certificates: Files
) -> None:
    environment = {**serving_tls(certificates["proxy"]), "TLS_CLIENT_CA_FILE": str(certificates["gateway"][0])}
    async with license_process(tmp_path, **environment) as proxy:
        gateway, nobody = caller(certificates, shows="gateway"), caller(certificates)
        assert await ask(proxy, "/v1/license", gateway) == 200
        assert await ask(proxy, "/v1/license", gateway, token=None) == 401
        assert await ask(proxy, "/v1/license", nobody) == 403
        for path in ("/healthz", "/readyz", "/health"):
            assert await ask(proxy, path, nobody, token=None) == 200
        with pytest.raises(aiohttp.ClientError):
            await ask(proxy, "/health", caller(certificates, shows="stranger"))


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"TLS_CERTIFICATE_FILE": "absent"}, "TLS_CERTIFICATE_FILE and TLS_KEY_FILE go together"),
        ({"TLS_CERTIFICATE_FILE": "absent", "TLS_KEY_FILE": "absent"}, "certificate absent with key absent: No such"),
        ({"TLS_CLIENT_CA_FILE": "absent"}, "TLS_CLIENT_CA_FILE: expected TLS_CERTIFICATE_FILE with it"),
        ({"LICENSE_AUTHORITY_CA_FILE": "absent"}, "certificates of absent: No such file"),
        ({"LICENSE_AUTHORITY_KEY_FILE": "absent"}, "LICENSE_AUTHORITY_KEY_FILE go together"),
        ({"LICENSE_AUTHORITY_ENDPOINT": "http://authority.example"}, "LICENSE_AUTHORITY_ENDPOINT: expected https://"),
        ({"LICENSE_AUTHORITY_ENDPOINT": "https://user:word@a.example"}, "expected no user name or password"),
        ({"USAGE_TRACKING_API_KEY": "two words of it"}, "expected one key of 8 to 512 printable ASCII characters"),
        ({"USAGE_TRACKING_API_KEY": "one-of-them", "USAGE_TRACKING_API_KEY_FILE": "x"}, "expected one of them"),
        ({"USAGE_TRACKING_API_KEY_FILE": "absent"}, "USAGE_TRACKING_API_KEY_FILE absent: No such file"),
        ({"USAGE_SELF_TERMINATE_MINUTES": "4"}, "--usage-self-terminate-minutes / USAGE_SELF_TERMINATE_MINUTES"),
        ({"STATE_DIR": "absent"}, "STATE_DIR absent: expected a folder that can be written"),
    ],
)
async def test_settings_that_cannot_be_used_stop_it_with_the_reason(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        async with license_process(tmp_path, **environment):
            raise AssertionError("it started")
    said = str(caught.value)
    assert complaint in said
    assert "exited 2" in said
    assert "Traceback" not in said
    assert "two words" not in said
    assert "user:word" not in said
