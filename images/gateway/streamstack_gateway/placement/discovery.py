"""Turn a pool's targets into addresses, again and again, since pods come and go behind a headless Service."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.placement.config import Target

logger = logging.getLogger(__name__)

RESOLVE_SECONDS: Final = 2.0
"""A new pod is found this soon; CoreDNS answers from its cache of the same order."""

Resolve = Callable[[str, int], Awaitable[set[tuple[str, int]]]]


async def resolve_by_dns(host: str, port: int) -> set[tuple[str, int]]:
    """Every address of ``host``. Raises OSError (``socket.gaierror``) when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {(str(address[0]), port) for *_, address in found}


class Discovery:
    """The addresses of one pool.

    ``changed`` hears the whole set whenever it differs; a target that cannot be resolved keeps its last addresses.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        changed: Callable[[frozenset[Endpoint]], None],
        resolve: Resolve = resolve_by_dns,
        interval_seconds: float = RESOLVE_SECONDS,
    ) -> None:
        self._targets = tuple(targets)
        self._changed = changed
        self._resolve = resolve
        self._interval_seconds = interval_seconds
        self._found: dict[Target, frozenset[Endpoint]] = {}
        self._failing: dict[Target, str] = {}
        self._last: frozenset[Endpoint] | None = None

    async def run(self) -> None:
        """Look until cancelled; returns at once when every target is an address."""
        await self.look()
        if all(target.is_address for target in self._targets):
            return
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.look()

    async def look(self) -> None:
        """Resolve every target once and tell what changed."""
        await asyncio.gather(*(self._look_at(target) for target in self._targets))
        endpoints = frozenset[Endpoint]().union(*self._found.values())
        if endpoints != self._last:
            self._last = endpoints
            self._changed(endpoints)

    async def _look_at(self, target: Target) -> None:
        if target.is_address:
            self._found[target] = frozenset({Endpoint(address=str(target), host=target.host)})
            return
        try:
            addresses = await self._resolve(target.host, target.port)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if self._failing.get(target) != reason:
                self._failing[target] = reason
                logger.warning("cannot resolve %s: %s; keeping what was known", target, reason)
            return
        if self._failing.pop(target, None) is not None:
            logger.info("resolved %s again", target)
        self._found[target] = frozenset(
            Endpoint(address=str(Target(address, port)), host=target.host) for address, port in addresses
        )
