"""Pools whose servers this gateway knows and chooses from: ``Pools`` without a balancer."""

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Final

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.link.attempt import LinkAttempt
from streamstack_gateway.link.bugs import log_bug
from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.link.link import Link
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement.backoff import RANDOM
from streamstack_gateway.placement.config import PoolConfig
from streamstack_gateway.placement.connector import Connects
from streamstack_gateway.placement.metrics import PlacementMetrics, refusal_name
from streamstack_gateway.placement.ports import Listener, PoolReport
from streamstack_gateway.placement.server import Server

logger = logging.getLogger(__name__)

OPENS_AT_ONCE: Final = 64
"""Sessions placed before the event loop gets a turn, so that losing a full server is no long pause for the others."""


class Wish:
    """One session's way to a slot in a pool: waiting, asking a server, served, or withdrawn."""

    __slots__ = ("_pool", "attempt", "barred", "listener", "server")

    def __init__(self, pool: "Pool", listener: Listener) -> None:
        self._pool = pool
        self.listener = listener
        self.attempt: LinkAttempt | None = None
        self.server: Server | None = None
        self.barred: set[Link | None] = set()

    def leave(self) -> None:
        """Withdraw it; harmless when it was served."""
        if not self._pool.forget(self):
            return
        if self.attempt is not None:
            self.attempt.close()

    def ask(self, server: Server) -> None:
        """Ask ``server`` for a slot."""
        self.server = server
        self.attempt = server.open(self.listener.open_request(), self.listener, self)

    # ------------------------------------------------------------------------------------------------ Owner

    def opened(self, attempt: LinkAttempt) -> None:
        """The slot is taken."""
        self._leave_server(attempt, took_slot=True)
        self._pool.served(self)
        self.listener.opened(attempt)

    def refused(self, attempt: LinkAttempt, message: asr_pb2.Refused) -> None:
        """Try another, or wait at the old place."""
        server = self._leave_server(attempt, took_slot=False)
        self.attempt = None
        self._pool.refused(self, server, message)

    def ended(self, attempt: LinkAttempt, loss: Loss | None) -> None:
        """Lost, or closed by the session itself."""
        server = self._leave_server(attempt, took_slot=False)
        self.attempt = None
        if attempt.has_slot:
            self._pool.vacated()
            if loss is not None:
                self.listener.lost(loss)
        elif loss is not None:
            self._pool.open_lost(self, server, loss)

    def _leave_server(self, attempt: LinkAttempt, *, took_slot: bool) -> Server:
        if self.server is None:
            raise RuntimeError("an attempt was answered that no server was asked for")
        self.server.answered(attempt, took_slot=took_slot)
        return self.server


class Pool:
    """One pool: its servers, and the sessions that want a slot, in the order they came."""

    def __init__(
        self, config: PoolConfig, *, connects: Connects, metrics: PlacementMetrics, rng: random.Random = RANDOM
    ) -> None:
        self._config = config
        self._connects = connects
        self._metrics = metrics
        self._rng = rng
        self._servers: dict[Endpoint, Server] = {}
        # Unserved wishes keep their place while a server is asked, so a refusal costs no session its turn.
        self._unserved: dict[Wish, None] = {}
        self._in_use = 0
        self._refused_total = 0
        self._is_placing = False
        self._links_up = metrics.links_up.labels(config.name)
        metrics.sessions_waiting.labels(config.name).set_function(lambda: len(self._unserved))
        metrics.free_slots.labels(config.name).set_function(self._free_slots_or_nan)

    def free_slots(self) -> int | None:
        """See ``Pools``."""
        known = [server for server in self._in_traffic() if server.is_known]
        if not known:
            return None
        opening = sum(server.opening for server in self._servers.values())
        return max(0, sum(server.free for server in known) - (len(self._unserved) - opening))

    def refuse(self) -> None:
        """See ``Pools``."""
        self._refused_total += 1

    def enter(self, listener: Listener) -> Wish:
        """See ``Pools``."""
        wish = Wish(self, listener)
        self._unserved[wish] = None
        self._place_soon()
        return wish

    def report(self) -> PoolReport:
        """See ``Pools``."""
        return PoolReport(in_use=self._in_use, waiting=len(self._unserved), refused_total=self._refused_total)

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Know these servers; one that is no longer among them keeps its sessions, and goes when its link does."""
        wanted = set(endpoints)
        for endpoint in wanted - self._servers.keys():
            server = Server(endpoint, model=self._config.model_version, connects=self._connects, events=self)
            self._servers[endpoint] = server
            server.start()
        for endpoint, server in list(self._servers.items()):
            server.is_wanted = endpoint in wanted
            if not server.is_wanted and not server.is_up:
                server.stop()
                self._servers.pop(endpoint, None)

    def stop(self) -> None:
        """End every link; sessions on them are told."""
        self.set_endpoints(())
        for server in list(self._servers.values()):
            server.stop()

    # ---------------------------------------------------------------------------------------------- wishes

    def forget(self, wish: Wish) -> bool:
        """Take the wish out; False when it is not waiting."""
        if wish not in self._unserved:
            return False
        del self._unserved[wish]
        return True

    def served(self, wish: Wish) -> None:
        """A wish came true."""
        self._unserved.pop(wish, None)
        self._in_use += 1
        self._count_open("opened")

    def vacated(self) -> None:
        """A session with a slot has none any more."""
        self._in_use -= 1

    def refused(self, wish: Wish, server: Server, message: asr_pb2.Refused) -> None:
        """A server said no: it counts as full until it reports again, for everybody."""
        reason = refusal_name(message)
        self._count_open(reason)
        if message.reason == asr_pb2.Refused.INVALID:
            # Its own fault, so only this wish stays away, for as long as that server runs.
            wish.barred.add(server.link)
            logger.error("pool %s: %s refused an open as invalid", self._config.name, server.endpoint.address)
        else:
            server.refused()
        self._place_soon()

    def open_lost(self, wish: Wish, server: Server, loss: Loss) -> None:
        """An open ended without an answer; a wish that is still wanted keeps its place."""
        self._count_open("lost")
        if loss is Loss.LISTENER_FAILED or loss is Loss.SESSION_BACKLOG:
            # Another server would end the same way.
            self._unserved.pop(wish, None)
            wish.listener.lost(loss)
        else:
            server.refused()
            self._place_soon()

    # --------------------------------------------------------------------------------------- ServerEvents

    def server_changed(self, server: Server) -> None:
        """Serve who waits, when there is a slot."""
        self._links_up.set(sum(other.is_up for other in self._servers.values()))
        if self._unserved and server.free:
            self._place_soon()

    def server_lost(self, server: Server, loss: Loss) -> None:
        """Count it; a server that is not wanted any more is forgotten."""
        if loss is not Loss.STOPPED:
            self._metrics.link_losses.labels(self._config.name, loss).inc()
        self._links_up.set(sum(other.is_up for other in self._servers.values()))
        if not server.is_wanted:
            self._servers.pop(server.endpoint, None)

    # ------------------------------------------------------------------------------------------- placement

    def _place_soon(self) -> None:
        # Never from within a session's own call, and once for all that happens in this turn of the loop.
        if not self._is_placing:
            self._is_placing = True
            asyncio.get_running_loop().call_soon(self._place)

    def _place(self) -> None:
        self._is_placing = False
        asked = 0
        for wish in list(self._unserved):
            if wish.attempt is not None or wish not in self._unserved:
                continue
            if asked == OPENS_AT_ONCE:
                self._place_soon()
                return
            server = self._choose(wish)
            if server is not None:
                asked += 1
                self._ask(wish, server)
            elif not wish.barred:
                return

    def _choose(self, wish: Wish) -> Server | None:
        """Power of two choices: the freer of two servers drawn at random keeps the fullest one near the mean."""
        candidates = [server for server in self._in_traffic() if server.free > 0 and server.link not in wish.barred]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        first, second = self._rng.sample(candidates, 2)
        return first if first.free >= second.free else second

    def _in_traffic(self) -> list[Server]:
        """Servers that new sessions may go to.

        One that was taken out of the pool's Service empties itself by getting none. Where none of those in the Service
        is up, one that is beats none at all: a readiness probe that fails for a moment takes a pod out, too.
        """
        wanted = [server for server in self._servers.values() if server.is_wanted]
        return wanted if any(server.is_known for server in wanted) else list(self._servers.values())

    def _ask(self, wish: Wish, server: Server) -> None:
        try:
            wish.ask(server)
        except Exception as error:  # noqa: BLE001 - one session's bug must not keep the others from their slots
            log_bug(logger, "listener on open_request", error)
            self._unserved.pop(wish, None)
            wish.listener.lost(Loss.LISTENER_FAILED)

    def _count_open(self, result: str) -> None:
        self._metrics.opens.labels(self._config.name, result).inc()

    def _free_slots_or_nan(self) -> float:
        free = self.free_slots()
        return float("nan") if free is None else float(free)
