"""One server of a pool, known by its address: its link, kept up, and how many of its slots are really free."""

import asyncio
import logging
from typing import Protocol

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.link.attempt import LinkAttempt, Owner
from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.link.link import Link
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement.backoff import LAST_SECONDS, Backoff
from streamstack_gateway.placement.connector import Connects
from streamstack_gateway.placement.ports import Listener

logger = logging.getLogger(__name__)


class ServerEvents(Protocol):
    """Who uses the server: the pool."""

    def server_changed(self, server: "Server") -> None:
        """Its status is new, or it came up."""

    def server_lost(self, server: "Server", loss: Loss) -> None:
        """Its link ended, or did not come up."""


class Server:
    """A server this gateway keeps a link to.

    Free slots are what the server last reported, less own opens it has not answered yet and less own opens answered
    since that report. A report that crosses an open therefore under-counts until the next one (250 ms at most) and
    never over-counts what this gateway took.
    """

    def __init__(self, endpoint: Endpoint, *, model: str, connects: Connects, events: ServerEvents) -> None:
        self.endpoint = endpoint
        self.is_wanted = True
        self._model = model
        self._connects = connects
        self._events = events
        self._backoff = Backoff()
        self._link: Link | None = None
        self._reported = 0
        self._is_serving = False
        self._unanswered: set[LinkAttempt] = set()
        self._answered_since_report = 0
        self._up_since: float | None = None
        self._last_failure: Loss | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._is_stopped = False

    @property
    def is_up(self) -> bool:
        """Whether the link is up."""
        return self._up_since is not None

    @property
    def is_known(self) -> bool:
        """Whether the link is up and the server lists the pool's model."""
        return self._is_serving

    @property
    def free(self) -> int:
        """Slots this gateway may ask for."""
        return max(0, self._reported - len(self._unanswered) - self._answered_since_report)

    @property
    def opening(self) -> int:
        """Own opens the server has not answered."""
        return len(self._unanswered)

    @property
    def link(self) -> Link | None:
        """The link that is up or coming up."""
        return self._link

    def start(self) -> None:
        """Connect, and connect again whenever the link is lost."""
        self._retry = None
        self._link = self._connects.open(self.endpoint, self)

    def open(self, request: asr_pb2.Open, listener: Listener, owner: Owner) -> LinkAttempt:
        """Ask for a slot; only while ``free`` is positive."""
        if self._link is None:
            raise RuntimeError(f"server {self.endpoint.address} has no link: expected free slots before an open")
        attempt = self._link.open(request, listener, owner)
        self._unanswered.add(attempt)
        return attempt

    def answered(self, attempt: LinkAttempt, *, took_slot: bool) -> None:
        """An open is no longer in flight: it was answered, withdrawn or lost."""
        if attempt in self._unanswered:
            self._unanswered.discard(attempt)
            self._answered_since_report += took_slot

    def refused(self) -> None:
        """The server has nothing for this pool, whatever it reported, until it reports again."""
        self._reported = 0

    def stop(self) -> None:
        """End the link, for good; its sessions are told."""
        self._is_stopped = True
        if self._retry is not None:
            self._retry.cancel()
        if self._link is not None:
            self._link.lose(Loss.STOPPED)

    # ------------------------------------------------------------------------------------------- LinkEvents

    def link_status(self, _link: Link, status: asr_pb2.ServerStatus) -> None:
        """Take the server's word."""
        if self._up_since is None:
            self._up_since = asyncio.get_running_loop().time()
            self._last_failure = None
            logger.info("link to %s is up", self.endpoint.address)
        self._is_serving = self._model in status.models
        self._reported = status.free_slots if status.accepting and self._is_serving else 0
        self._answered_since_report = 0
        self._events.server_changed(self)

    def link_lost(self, link: Link, loss: Loss, detail: str) -> None:
        """Forget what was known and connect again after a while."""
        loop = asyncio.get_running_loop()
        self._connects.release(link)
        # Only a link that held shows that connecting at once is harmless.
        if self._up_since is not None and loop.time() - self._up_since > LAST_SECONDS:
            self._backoff.reset()
        self._link = None
        self._up_since = None
        self._is_serving = False
        self._reported = self._answered_since_report = 0
        self._unanswered.clear()
        if loss is not Loss.STOPPED and loss is not self._last_failure:
            self._last_failure = loss
            logger.warning("link to %s: %s %s", self.endpoint.address, loss, detail)
        if self.is_wanted and not self._is_stopped:
            self._retry = loop.call_later(self._backoff.next_seconds(), self.start)
        self._events.server_lost(self, loss)
