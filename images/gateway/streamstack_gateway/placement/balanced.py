"""Pools behind a balancer: every session gets a link of its own, and the balancer chooses the server.

The balancer routes on ``x-model-version`` and cannot see slots, so nobody knows how many are free: a refusal is
answered by asking again a little later, when the balancer may choose another server.
"""

import asyncio
import logging

import grpc.aio

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import MODEL_VERSION
from streamstack_gateway.link.attempt import LinkAttempt
from streamstack_gateway.link.bugs import log_bug
from streamstack_gateway.link.link import Link
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement.backoff import Backoff
from streamstack_gateway.placement.config import PoolConfig
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.metrics import PlacementMetrics, refusal_name
from streamstack_gateway.placement.ports import Listener, PoolReport

logger = logging.getLogger(__name__)


class BalancedWish:
    """One session's way to a slot: a link, an open, and again after a refusal or a loss."""

    def __init__(self, pool: "BalancedPool", listener: Listener) -> None:
        self._pool = pool
        self._listener = listener
        self._backoff = Backoff()
        self._link: Link | None = None
        self._attempt: LinkAttempt | None = None
        # Not from within the session's own call.
        self._timer: asyncio.Handle | None = asyncio.get_running_loop().call_soon(self._ask)

    def leave(self) -> None:
        """Withdraw it; harmless when it was served."""
        if self._pool.forget(self):
            self.halt()

    def halt(self) -> None:
        """Stop asking; a session that has its slot loses it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link is not None:
            self._link.lose(Loss.STOPPED)

    def _ask(self) -> None:
        self._timer = None
        try:
            request = self._listener.open_request()
        except Exception as error:  # noqa: BLE001 - one session's bug must not reach the loop unnamed
            log_bug(logger, "listener on open_request", error)
            self._pool.forget(self)
            self._listener.lost(Loss.LISTENER_FAILED)
            return
        self._link = self._pool.connect(self)
        self._attempt = self._link.open(request, self._listener, self)

    def _ask_later(self) -> None:
        if self._pool.is_waiting(self):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._backoff.next_seconds(), self._ask)

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.lose(Loss.STOPPED)

    # ------------------------------------------------------------------------------------------------ Owner

    def opened(self, attempt: LinkAttempt) -> None:
        """The slot is taken."""
        self._pool.served(self)
        self._listener.opened(attempt)

    def refused(self, _attempt: LinkAttempt, message: asr_pb2.Refused) -> None:
        """Ask again later."""
        self._pool.count_open(refusal_name(message))
        self._drop_link()
        self._ask_later()

    def ended(self, attempt: LinkAttempt, loss: Loss | None) -> None:
        """Lost, or closed by the session itself."""
        self._drop_link()
        if attempt.has_slot:
            self._pool.vacated(self)
            if loss is not None:
                self._listener.lost(loss)
        elif loss is Loss.LISTENER_FAILED or loss is Loss.SESSION_BACKLOG:
            # Another server would end the same way.
            self._pool.forget(self)
            self._listener.lost(loss)
        elif loss is not None:
            self._pool.count_open("lost")
            self._ask_later()

    # ------------------------------------------------------------------------------------------- LinkEvents

    def link_status(self, link: Link, _status: asr_pb2.ServerStatus) -> None:
        """The server behind the balancer spoke."""
        self._pool.link_up(link)

    def link_lost(self, link: Link, loss: Loss, detail: str) -> None:
        """The link is over; ``ended`` follows for the session."""
        self._link = None
        self._pool.link_lost(link, loss, detail)


class BalancedPool:
    """One pool behind the balancer."""

    def __init__(self, config: PoolConfig, *, connector: Connector, metrics: PlacementMetrics) -> None:
        self._config = config
        self._connector = connector
        self._metrics = metrics
        self._channel: grpc.aio.Channel | None = None
        self._waiting: set[BalancedWish] = set()
        self._served: set[BalancedWish] = set()
        self._up: set[Link] = set()
        self._last_failure: Loss | None = None
        self._refused_total = 0
        metrics.links_up.labels(config.name).set_function(lambda: len(self._up))
        metrics.sessions_waiting.labels(config.name).set_function(lambda: len(self._waiting))
        metrics.free_slots.labels(config.name).set(float("nan"))

    def start(self, channel: grpc.aio.Channel) -> None:
        """Use this channel from now on."""
        self._channel = channel

    def stop(self) -> None:
        """End every link; sessions on them are told."""
        waiting, self._waiting = self._waiting, set()
        for wish in [*waiting, *self._served]:
            wish.halt()

    def free_slots(self) -> int | None:
        """See ``Pools``: nobody can say."""
        return None

    def refuse(self) -> None:
        """See ``Pools``."""
        self._refused_total += 1

    def enter(self, listener: Listener) -> BalancedWish:
        """See ``Pools``."""
        wish = BalancedWish(self, listener)
        self._waiting.add(wish)
        return wish

    def report(self) -> PoolReport:
        """See ``Pools``."""
        return PoolReport(in_use=len(self._served), waiting=len(self._waiting), refused_total=self._refused_total)

    # ---------------------------------------------------------------------------------------------- wishes

    def connect(self, wish: BalancedWish) -> Link:
        """Begin a link for one session."""
        if self._channel is None:
            raise RuntimeError(f"pool {self._config.name}: expected start before the first session")
        return self._connector.open_on(self._channel, wish, ((MODEL_VERSION, self._config.model_version),))

    def is_waiting(self, wish: BalancedWish) -> bool:
        """Whether the session still wants a slot."""
        return wish in self._waiting

    def forget(self, wish: BalancedWish) -> bool:
        """Take the wish out; False when it is not waiting."""
        if wish not in self._waiting:
            return False
        self._waiting.discard(wish)
        return True

    def served(self, wish: BalancedWish) -> None:
        """A wish came true."""
        self._waiting.discard(wish)
        self._served.add(wish)
        self.count_open("opened")

    def vacated(self, wish: BalancedWish) -> None:
        """A session with a slot has none any more."""
        self._served.discard(wish)

    def count_open(self, result: str) -> None:
        """Count the answer to one request for a slot."""
        self._metrics.opens.labels(self._config.name, result).inc()

    def link_up(self, link: Link) -> None:
        """A link got through."""
        self._up.add(link)
        if self._last_failure is not None:
            self._last_failure = None
            logger.info("pool %s: links through the balancer come up again", self._config.name)

    def link_lost(self, link: Link, loss: Loss, detail: str) -> None:
        """A link is over, by a loss or because its session is."""
        self._up.discard(link)
        self._connector.release(link)
        if loss is Loss.STOPPED:
            return
        self._metrics.link_losses.labels(self._config.name, loss).inc()
        if loss is not self._last_failure:
            self._last_failure = loss
            logger.warning("pool %s: link through the balancer: %s %s", self._config.name, loss, detail)
