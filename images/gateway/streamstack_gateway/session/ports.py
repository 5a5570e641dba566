"""What a session needs from the outside: its client, and what the gateway decided once for all sessions."""

from dataclasses import dataclass
from typing import Protocol

from streamstack_gateway.dialects.events import ServerEvent


class Client(Protocol):
    """The socket, as a session sees it."""

    def send(self, event: ServerEvent) -> None:
        """Queue one message."""

    def close(self, code: int) -> None:
        """Close after what was queued; the reason text belongs to the dialect's table."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of every session, in seconds; sources in DESIGN 1, 3 and the protocol reference 8, 10."""

    max_session_seconds: int = 10_800
    asr_wait_seconds: float = 600.0
    terminate_seconds: float = 4.0
    """How long a terminating session waits for a server that makes no progress; clients give up after five."""
    max_turn_seconds: int = 120
    """A turn without any pause is cut here, so that no buffer and no engine grows without bound."""
    ahead_seconds: int = 300
    """How far audio may run ahead of real time; a server that is slow or away is no fault of the client's."""
    heartbeat_seconds: float = 5.0
