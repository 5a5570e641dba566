"""Pools over real links to servers on real sockets, with quick heartbeats."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_gateway.link.channel import Transport
from streamstack_gateway.link.settings import LinkSettings
from streamstack_gateway.placement.config import PlacementConfig, parse_pools
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.metrics import PlacementMetrics
from streamstack_gateway.placement.service import PlacementService, create
from support.fake_asr import FakeAsr

TOKEN = "the-stacks-own-credential"  # noqa: S105 - of a test

StartPools = Callable[..., Awaitable[PlacementService]]
StartAsr = Callable[..., Awaitable[FakeAsr]]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def credential_file(tmp_path: Path) -> Path:
    path = tmp_path / "credential"
    path.write_text(TOKEN)
    return path


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PlacementMetrics:
    return PlacementMetrics(registry)


@pytest.fixture
async def connector(credential_file: Path, metrics: PlacementMetrics) -> AsyncIterator[Connector]:
    connector = Connector(transport=Transport(), credential=Credential(credential_file), metrics=metrics)
    yield connector
    await connector.stop()


@pytest.fixture
async def start_asr() -> AsyncIterator[StartAsr]:
    """Start a server; keyword arguments become its attributes."""
    servers: list[FakeAsr] = []

    async def start(name: str = "fake", **attributes: object) -> FakeAsr:
        server = FakeAsr(accepts=lambda bearer: bearer == f"Bearer {TOKEN}", name=name)
        for key, value in attributes.items():
            setattr(server, key, value)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def start_pools(credential_file: Path, registry: CollectorRegistry) -> AsyncIterator[StartPools]:
    """Start pools from the configuration's string, or one pool ``english`` over the servers given."""
    services: list[PlacementService] = []

    async def start(*servers: FakeAsr, text: str | None = None, balancer: str | None = None) -> PlacementService:
        addresses = ",".join(server.address for server in servers)
        pools = parse_pools(text if text is not None else f"english/en-default={addresses}")
        service = create(
            PlacementConfig(pools, balancer=balancer),
            credential=Credential(credential_file),
            registry=registry,
            settings=LinkSettings(heartbeat_seconds=0.1),
        )
        await service.start()
        services.append(service)
        return service

    yield start
    for service in services:
        await service.stop()
