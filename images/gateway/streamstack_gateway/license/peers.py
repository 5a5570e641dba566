"""How many gateways there are: by the addresses behind their Service, or behind several names."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Sequence
from typing import Final

from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.placement.config import PlacementConfigError, Target, parse_target
from streamstack_gateway.placement.discovery import RESOLVE_SECONDS, Discovery, Resolve, resolve_by_dns

log = logging.getLogger(__name__)

FIRST_LOOK_SECONDS: Final = 5.0
"""How long a start may wait for the DNS; after that it goes on alone until an answer comes."""
ANY_PORT: Final = 1
"""Only addresses are counted; nothing is ever connected to."""


class PeersError(ValueError):
    """``GATEWAY_PEERS`` cannot be used; the message says what was expected."""


def parse_peers(text: str) -> tuple[Target, ...]:
    """Host names or addresses, comma-separated; none is no peers. Raises PeersError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return tuple(parse_target(f"{_bracketed(name)}:{ANY_PORT}") for name in names)
    except PlacementConfigError as error:
        raise PeersError(f"GATEWAY_PEERS {text!r}: expected host names or addresses separated by commas") from error


class Peers:
    """The number of gateways, this one included; ``targets`` none is this one alone.

    A headless Service has to name at least the gateways that new sessions may come to. In a cluster with both kinds of
    addresses each gateway has one of either, so the larger number counts.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        resolve: Resolve = resolve_by_dns,
        interval_seconds: float = RESOLVE_SECONDS,
    ) -> None:
        self._discovery = (
            Discovery(targets, changed=self._counted, resolve=resolve, interval_seconds=interval_seconds)
            if targets
            else None
        )
        self._gateways = 1
        self._task: asyncio.Task[None] | None = None

    def gateways(self) -> int:
        """How many there are by the last look-up that gave an answer; 1 before."""
        return self._gateways

    async def start(self) -> None:
        """Look once, so that the first session meets the right share, then every few seconds until :meth:`stop`."""
        if self._discovery is None:
            return
        try:
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                await self._discovery.look()
        except TimeoutError:
            log.warning("GATEWAY_PEERS: no answer from the DNS yet")
        self._task = asyncio.create_task(self._discovery.run(), name="gateway-peers")
        self._task.add_done_callback(_report_death)

    async def stop(self) -> None:
        """Look no more."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    def _counted(self, endpoints: frozenset[Endpoint]) -> None:
        addresses = [endpoint.address for endpoint in endpoints]
        version_6 = sum(address.startswith("[") for address in addresses)
        gateways = max(1, version_6, len(addresses) - version_6)
        if gateways != self._gateways:
            log.info("%d gateways share the license's limit of sessions, before it was %d", gateways, self._gateways)
        self._gateways = gateways


def _bracketed(name: str) -> str:
    try:
        return f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        return name


def _report_death(task: asyncio.Task[None]) -> None:
    """Say that looking ended by a defect: the number would go stale in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("counting gateways ended", exc_info=task.exception())
