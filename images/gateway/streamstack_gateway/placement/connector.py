"""Where links come from: a channel of its own for each known server, or one shared channel to a balancer."""

import asyncio
from typing import Protocol

import grpc.aio

from streamstack_common.contracts.rpc import AUTHORIZATION
from streamstack_common.credential import Credential
from streamstack_gateway.link.channel import Endpoint, Transport
from streamstack_gateway.link.link import Link, LinkEvents
from streamstack_gateway.link.settings import DEFAULT_SETTINGS, LinkSettings
from streamstack_gateway.placement.metrics import PlacementMetrics


class Connects(Protocol):
    """What a server needs of it."""

    def open(self, endpoint: Endpoint, events: LinkEvents) -> Link:
        """Begin a link on a connection of its own."""

    def release(self, link: Link) -> None:
        """Free the connection of a link that is over."""


class Connector:
    """Makes links with the credential as it is at that moment, and sees them out."""

    def __init__(
        self,
        *,
        transport: Transport,
        credential: Credential,
        metrics: PlacementMetrics,
        settings: LinkSettings = DEFAULT_SETTINGS,
    ) -> None:
        self._transport = transport
        self._credential = credential
        self._observe_batch = metrics.link_write_requests.observe
        self._settings = settings
        self._channels: dict[Link, grpc.aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, endpoint: Endpoint, events: LinkEvents) -> Link:
        """Begin a link on a connection of its own."""
        channel = self._transport.open(endpoint)
        link = self.open_on(channel, events)
        self._channels[link] = channel
        return link

    def shared_channel(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """Make a channel for many links; the caller closes it."""
        return self._transport.open(endpoint)

    def open_on(
        self, channel: grpc.aio.Channel, events: LinkEvents, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Link:
        """Begin a link on a channel that outlives it."""
        return Link(
            channel=channel,
            metadata=((AUTHORIZATION, self._credential.bearer()), *metadata),
            events=events,
            observe_batch=self._observe_batch,
            settings=self._settings,
        )

    def release(self, link: Link) -> None:
        """See a link out that is over, and its connection when that is its own."""
        closing = asyncio.get_running_loop().create_task(self._see_out(link, self._channels.pop(link, None)))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def stop(self) -> None:
        """Wait until every released link and connection is gone."""
        while self._closing:
            await asyncio.wait(self._closing)

    async def _see_out(self, link: Link, channel: grpc.aio.Channel | None) -> None:
        await link.closed()
        if channel is not None:
            await channel.close()
