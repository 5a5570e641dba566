import ssl
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url, load_authorities, server_tls
from streamstack_license_proxy.tls_renewal import TlsFiles, TlsSide
from support.certificates import self_signed, write_self_signed
from support.service import write_credential


async def reached(url: str, ca: bytes) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.decode())
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client:
        try:
            async with client.get(f"{url}/healthz", ssl=context) as response:
                return response.status == 200
        except aiohttp.ClientConnectorCertificateError:
            return False


async def test_a_renewed_certificate_is_shown_and_half_of_one_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = write_self_signed(tmp_path, "127.0.0.1")
    first = certificate.read_bytes()
    side = TlsSide(server_tls(certificate, key), TlsFiles((certificate, key)))
    http = InternalHttp(
        credential=Credential(write_credential(tmp_path)),
        registry=CollectorRegistry(),
        ready=lambda: None,
        tls=side.context,
    )
    url = base_url("127.0.0.1", await http.start("127.0.0.1", 0), secure=True)
    try:
        assert await reached(url, first)
        second, second_key = self_signed("127.0.0.1")
        certificate.write_bytes(second)
        side.look()
        assert "what was read before counts" in caplog.text
        assert await reached(url, first)
        certificate.unlink()
        side.look()
        assert await reached(url, first)
        certificate.write_bytes(second)
        key.write_bytes(second_key)
        side.look()
        assert await reached(url, second)
        assert not await reached(url, first)
    finally:
        await http.stop()


def test_a_new_ca_is_believed_at_once(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(self_signed("one.example")[0])
    side = TlsSide(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TlsFiles(ca_file=ca_file))
    before = len(side.context.get_ca_certs())
    side.look()
    assert len(side.context.get_ca_certs()) == before
    ca_file.write_bytes(ca_file.read_bytes() + self_signed("two.example")[0])
    side.look()
    assert len(side.context.get_ca_certs()) == before + 1
    load_authorities(side.context, ca_file)
