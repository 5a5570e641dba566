"""What waits to be written on one link, sans I/O: fair between sessions, in order within each, bounded for both."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from streamstack_common.contracts.rpc import MAX_MESSAGE_BYTES

ITEM_OVERHEAD_BYTES: Final = 48
"""Upper bound of what session number, tags, lengths and an offset add to a request's payload."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Bytes in one message, waiting in one session (2 MiB is 65 s of audio), waiting on one link.

    Above ``congested_bytes`` sessions keep their audio to themselves, so that ``link_bytes`` is met by defects only.
    """

    message_bytes: int = MAX_MESSAGE_BYTES
    session_bytes: int = 2 << 20
    congested_bytes: int = 8 << 20
    link_bytes: int = 64 << 20


class SessionBacklogError(Exception):
    """A session waits with more than its bound, or has one request larger than a message; nothing was queued."""


class LinkBacklogError(Exception):
    """The link waits with more than its bound; nothing was queued."""


@dataclass(slots=True, eq=False)
class Lane:
    """One session's requests that wait. ``sent`` is true once one of them left."""

    number: int
    items: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    waiting_bytes: int = 0
    in_ring: bool = False
    sent: bool = False


class Outbox:
    """Sessions with something to write take turns, one request each.

    A request is kept as the keyword arguments of ``SessionRequest`` and becomes a message only inside the one that
    carries it: measured here, 1.2 µs a request against 2.8 for messages made early and copied; waiting audio is not
    copied at all.
    """

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._ring: deque[Lane] = deque()
        self.waiting_bytes = 0

    def __bool__(self) -> bool:
        return self.waiting_bytes > 0

    def put(self, lane: Lane, payload_bytes: int, request: dict[str, Any]) -> None:
        """Queue one request of ``payload_bytes``. Raises SessionBacklogError or LinkBacklogError."""
        size = payload_bytes + ITEM_OVERHEAD_BYTES
        if size > self._limits.message_bytes or lane.waiting_bytes + size > self._limits.session_bytes:
            raise SessionBacklogError
        if self.waiting_bytes + size > self._limits.link_bytes:
            raise LinkBacklogError
        self._append(lane, size, request)

    def replace(self, lane: Lane, request: dict[str, Any]) -> None:
        """Forget what the session waits with and queue one small last request, whatever the bounds say."""
        self.drop(lane)
        self._append(lane, ITEM_OVERHEAD_BYTES, request)

    def drop(self, lane: Lane) -> None:
        """Forget what the session waits with."""
        self.waiting_bytes -= lane.waiting_bytes
        lane.waiting_bytes = 0
        lane.items.clear()

    def fill(self, add: Callable[..., Any]) -> int:
        """Move the next message's requests out: ``add(session=..., **request)`` for each; returns their count."""
        ring = self._ring
        room = self._limits.message_bytes
        count = 0
        while ring:
            lane = ring[0]
            if not lane.items:
                lane.in_ring = False
                ring.popleft()
                continue
            size, request = lane.items[0]
            if size > room:
                break
            room -= size
            count += 1
            self._pop(lane, size)
            add(session=lane.number, **request)
        return count

    def _append(self, lane: Lane, size: int, request: dict[str, Any]) -> None:
        lane.items.append((size, request))
        lane.waiting_bytes += size
        self.waiting_bytes += size
        if not lane.in_ring:
            lane.in_ring = True
            self._ring.append(lane)

    def _pop(self, lane: Lane, size: int) -> None:
        lane.items.popleft()
        lane.sent = True
        lane.waiting_bytes -= size
        self.waiting_bytes -= size
        self._ring.popleft()
        if lane.items:
            self._ring.append(lane)
        else:
            lane.in_ring = False
