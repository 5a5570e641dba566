"""Where a session meets the servers that recognise it: what it asks of a pool, and what it hears back.

Every method is called on the event loop, returns at once and does not raise.
"""

from dataclasses import dataclass
from typing import Protocol

from streamstack_common.contracts import asr_pb2


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a session needs to know of the server it is on; see ``ServerStatus`` in the contract."""

    instance_id: str
    left_context_ms: int
    chunk_ms: int
    window_ms: int


class Attempt(Protocol):
    """A session's slot on one server, from Opened to close or loss. Calls after that are ignored."""

    facts: ServerFacts

    @property
    def is_congested(self) -> bool:
        """Whether the way to the server is so full that audio had better wait in the session."""

    def audio(self, offset: int, pcm: bytes) -> None:
        """Send audio; ``offset`` is the position of its first sample."""

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn there."""

    def update(self, config: asr_pb2.SessionConfig) -> None:
        """Replace the configuration."""

    def close(self) -> None:
        """Give the slot back; nothing is heard of this attempt afterwards."""


class Listener(Protocol):
    """A session, as a pool sees it."""

    def open_request(self) -> asr_pb2.Open:
        """What to open with; asked at the moment a server is tried."""

    def opened(self, attempt: Attempt) -> None:
        """A slot is taken; audio may be sent from ``first_sample`` of the last ``open_request`` on."""

    def hypothesis(self, message: asr_pb2.Hypothesis) -> None:
        """News of the open turn."""

    def final(self, message: asr_pb2.Final) -> None:
        """The words that complete a turn."""

    def turn_ended(self, message: asr_pb2.TurnEnded) -> None:
        """The mark between two turns."""

    def please_move(self, message: asr_pb2.PleaseMove) -> None:
        """The server wants to be left at the next turn boundary."""

    def lost(self, reason: str) -> None:
        """The attempt ended unasked; the session is in no pool now and may enter one again."""


class Ticket(Protocol):
    """A session's wish for a slot, until it is opened."""

    def leave(self) -> None:
        """Withdraw it; harmless when it was served."""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool as ``/sessions`` shows it: own sessions with a slot, own without, clients refused for want of one."""

    in_use: int
    waiting: int
    refused_total: int


class Pools(Protocol):
    """All pools of a gateway."""

    def free_slots(self, pool: str) -> int | None:
        """Free slots by the last word of the pool's servers, less what this gateway is about to take.

        None when nobody can say: no server of the pool is known at present, or a balancer hides them.
        """

    def refuse(self, pool: str) -> None:
        """Count a client that was turned away because the pool was full."""

    def enter(self, pool: str, listener: Listener) -> Ticket:
        """Ask for a slot; sessions that cannot have one at once wait, oldest first, until ``opened`` or ``leave``."""

    def report(self) -> dict[str, PoolReport]:
        """Every configured pool by name."""
