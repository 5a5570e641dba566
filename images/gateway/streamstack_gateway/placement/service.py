"""All pools of a gateway, put together from the configuration."""

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from typing import Protocol

from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_gateway.link.bugs import log_bug
from streamstack_gateway.link.channel import Endpoint, Transport
from streamstack_gateway.link.settings import DEFAULT_SETTINGS, LinkSettings
from streamstack_gateway.placement.balanced import BalancedPool
from streamstack_gateway.placement.config import PlacementConfig, PlacementConfigError, parse_target
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.discovery import Discovery
from streamstack_gateway.placement.metrics import PlacementMetrics
from streamstack_gateway.placement.pools import Pool
from streamstack_gateway.placement.ports import Listener, PoolReport, Ticket

logger = logging.getLogger(__name__)


class AnyPool(Protocol):
    """What both kinds of pool do."""

    def free_slots(self) -> int | None:
        """See ``Pools``."""

    def refuse(self) -> None:
        """See ``Pools``."""

    def enter(self, listener: Listener) -> Ticket:
        """See ``Pools``."""

    def report(self) -> PoolReport:
        """See ``Pools``."""

    def stop(self) -> None:
        """End every link; sessions on them are told."""


class PlacementService(ABC):
    """Implements ``Pools``; pool names are those of the configuration, another one is a bug (KeyError)."""

    def __init__(self, pools: dict[str, AnyPool], connector: Connector) -> None:
        self._pools = pools
        self._connector = connector

    def free_slots(self, pool: str) -> int | None:
        """See ``Pools``."""
        return self._pools[pool].free_slots()

    def refuse(self, pool: str) -> None:
        """See ``Pools``."""
        self._pools[pool].refuse()

    def enter(self, pool: str, listener: Listener) -> Ticket:
        """See ``Pools``."""
        return self._pools[pool].enter(listener)

    def report(self) -> dict[str, PoolReport]:
        """See ``Pools``."""
        return {name: pool.report() for name, pool in self._pools.items()}

    @abstractmethod
    async def start(self) -> None:
        """Begin; waits for no server."""

    async def stop(self) -> None:
        """End every link and wait until nothing runs any more; sessions still on them are told."""
        for pool in self._pools.values():
            pool.stop()
        await self._connector.stop()


class DirectService(PlacementService):
    """The gateway knows every server and chooses."""

    def __init__(self, config: PlacementConfig, connector: Connector, metrics: PlacementMetrics) -> None:
        pools = {pool.name: Pool(pool, connects=connector, metrics=metrics) for pool in config.pools}
        super().__init__(dict(pools), connector)
        self._discoveries = [
            Discovery([parse_target(target) for target in pool.targets], changed=pools[pool.name].set_endpoints)
            for pool in config.pools
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to look for servers; does not wait for any."""
        loop = asyncio.get_running_loop()
        for discovery in self._discoveries:
            task = loop.create_task(discovery.run())
            task.add_done_callback(_report_discovery)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End every link and wait until nothing runs any more; sessions still on them are told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()


class BalancedService(PlacementService):
    """A balancer chooses; all links share one connection to it."""

    def __init__(self, config: PlacementConfig, balancer: str, connector: Connector, metrics: PlacementMetrics) -> None:
        self._balanced = {pool.name: BalancedPool(pool, connector=connector, metrics=metrics) for pool in config.pools}
        super().__init__(dict(self._balanced), connector)
        target = parse_target(balancer)
        self._endpoint = Endpoint(address=str(target), host=target.host)
        self._shared = connector.shared_channel

    async def start(self) -> None:
        """Make the connection's channel; it connects when the first session comes."""
        self._channel = self._shared(self._endpoint)
        for pool in self._balanced.values():
            pool.start(self._channel)

    async def stop(self) -> None:
        """End every link and wait until nothing runs any more; sessions still on them are told."""
        await super().stop()
        await self._channel.close()


def create(
    config: PlacementConfig,
    *,
    credential: Credential,
    registry: CollectorRegistry,
    settings: LinkSettings = DEFAULT_SETTINGS,
) -> PlacementService:
    """Make the pools of a gateway. Raises PlacementConfigError when the root certificates cannot be read."""
    metrics = PlacementMetrics(registry)
    transport = Transport(secure=config.secure, root_certificates=_roots(config))
    connector = Connector(transport=transport, credential=credential, metrics=metrics, settings=settings)
    if config.balancer is None:
        return DirectService(config, connector, metrics)
    return BalancedService(config, config.balancer, connector, metrics)


def _roots(config: PlacementConfig) -> bytes | None:
    if not config.secure or config.ca_file is None:
        return None
    try:
        # gRPC takes anything and then fails every connection without a word about the file.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(config.ca_file)
        return config.ca_file.read_bytes()
    except OSError as error:
        raise PlacementConfigError(
            f"root certificates {config.ca_file}: {error.strerror}: expected PEM certificates"
        ) from error


def _report_discovery(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log_bug(logger, "discovery", error)
