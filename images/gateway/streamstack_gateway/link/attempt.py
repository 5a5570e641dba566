"""One session on one link: the slot it asks for, then has, until it is closed or lost."""

from typing import TYPE_CHECKING, Any, Final, Protocol

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.link.outbox import Lane
from streamstack_gateway.placement.ports import Listener, ServerFacts

if TYPE_CHECKING:
    from streamstack_gateway.link.link import Link

PIECE_BYTES: Final = 16 << 10
"""Audio in one request, 512 ms: sessions take turns by request, so a replay's burst must come in small ones."""

NO_FACTS: Final = ServerFacts(instance_id="", left_context_ms=0, chunk_ms=0, window_ms=0)


class Owner(Protocol):
    """Who placed the session: hears what happens to its slot. Called on the event loop."""

    def opened(self, attempt: "LinkAttempt") -> None:
        """The slot is taken and ``attempt.facts`` are known."""

    def refused(self, attempt: "LinkAttempt", message: asr_pb2.Refused) -> None:
        """No slot was taken; the attempt is over."""

    def ended(self, attempt: "LinkAttempt", loss: Loss | None) -> None:
        """The attempt is over; None when ``close`` was called."""


class LinkAttempt:
    """Implements ``Attempt``; everything is ignored once it is over."""

    __slots__ = ("_link", "facts", "has_slot", "is_over", "is_overrun", "lane", "listener", "owner")

    def __init__(self, *, link: "Link", lane: Lane, listener: Listener, owner: Owner) -> None:
        self._link = link
        self.lane = lane
        self.listener = listener
        self.owner = owner
        self.facts = NO_FACTS
        self.has_slot = False
        self.is_over = False
        self.is_overrun = False

    @property
    def is_congested(self) -> bool:
        """See ``Attempt``."""
        return self._link.is_congested

    def audio(self, offset: int, pcm: bytes) -> None:
        """Send audio; ``offset`` is the position of its first sample."""
        size = len(pcm)
        if size <= PIECE_BYTES:
            self._link.put(self, size, {"audio": {"offset": offset, "pcm": pcm}})
            return
        for start in range(0, size, PIECE_BYTES):
            piece = pcm[start : start + PIECE_BYTES]
            self._link.put(self, len(piece), {"audio": {"offset": offset + start // 2, "pcm": piece}})

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn there."""
        self._put({"end_turn": {"turn_id": turn_id, "through_sample": through_sample}}, 0)

    def update(self, config: asr_pb2.SessionConfig) -> None:
        """Replace the configuration."""
        self._put({"update": {"config": config}}, config.ByteSize())

    def close(self) -> None:
        """Give the slot back; nothing is heard of this attempt afterwards."""
        self._link.close_attempt(self)

    def _put(self, request: dict[str, Any], payload_bytes: int) -> None:
        self._link.put(self, payload_bytes, request)
