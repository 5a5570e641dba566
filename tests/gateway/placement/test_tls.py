"""Links over TLS: the certificate is checked against the name the address was found under."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_gateway.link.channel import Endpoint, Transport
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement import create_pools
from streamstack_gateway.placement.config import PlacementConfig, PlacementConfigError, PoolConfig, parse_pools
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.metrics import PlacementMetrics
from streamstack_gateway.placement.pools import Pool
from support.fake_asr import FakeAsr
from support.recording_listener import RecordingListener

StartAsr = Callable[..., Awaitable[FakeAsr]]


def self_signed(host: str) -> tuple[bytes, bytes]:
    """A certificate for ``host`` and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(("host", "is_trusted"), [("asr-english", True), ("somebody-else", False)])
async def test_a_session_is_placed_only_where_the_certificate_has_the_name(
    start_asr: StartAsr,
    credential_file: Path,
    registry: CollectorRegistry,
    host: str,
    is_trusted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses: list[Loss] = []
    certificate, key = self_signed("asr-english")
    asr = await start_asr(tls=grpc.ssl_server_credentials([(key, certificate)]))
    metrics = PlacementMetrics(registry)
    transport = Transport(secure=True, root_certificates=certificate)
    connector = Connector(transport=transport, credential=Credential(credential_file), metrics=metrics)
    pool = Pool(PoolConfig("english", "en-default"), connects=connector, metrics=metrics)
    pool.set_endpoints({Endpoint(asr.address, host)})
    listener = RecordingListener()
    pool.enter(listener)
    if is_trusted:
        await listener.until(lambda: listener.attempts)
    else:
        refused = asyncio.Event()
        monkeypatch.setattr(pool, "server_lost", lambda _server, loss: losses.append(loss) or refused.set())
        async with asyncio.timeout(20):
            await refused.wait()
        assert losses == [Loss.UNAVAILABLE]
        assert listener.attempts == []
        assert asr.links == []
    pool.stop()
    await connector.stop()


def test_root_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, credential_file: Path, registry: CollectorRegistry
) -> None:
    config = PlacementConfig(parse_pools("english/en-default=asr:1"), secure=True, ca_file=tmp_path / "missing.pem")
    with pytest.raises(PlacementConfigError, match=r"missing\.pem"):
        create_pools(config, credential=Credential(credential_file), registry=registry)
