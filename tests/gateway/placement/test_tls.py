"""Links over TLS: the certificate is checked against the name the address was found under."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_gateway.link.channel import Endpoint, Transport
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement import create_pools
from streamstack_gateway.placement.config import PlacementConfig, PlacementConfigError, PoolConfig, parse_pools
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.metrics import PlacementMetrics
from streamstack_gateway.placement.pools import Pool
from support.certificates import self_signed
from support.fake_asr import FakeAsr
from support.recording_listener import RecordingListener

StartAsr = Callable[..., Awaitable[FakeAsr]]


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
