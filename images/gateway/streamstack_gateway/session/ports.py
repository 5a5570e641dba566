"""What a session needs from the outside: its client, and what the gateway decided once for all sessions."""

from dataclasses import dataclass
from typing import Final, Protocol

from streamstack_gateway.dialects.events import ServerEvent
from streamstack_gateway.session.used import Used


class Client(Protocol):
    """The socket, as a session sees it."""

    def send(self, event: ServerEvent) -> None:
        """Queue one message."""

    def close(self, code: int) -> None:
        """Close after what was queued; the reason text belongs to the dialect's table."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the license leaves this gateway: sessions at once, and models by name. None is no limit."""

    sessions: int | None = None
    models: tuple[str, ...] | None = None


class Metered(Protocol):
    """A session, as far as its use is reported; everything grows while it lives."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def started_wall_seconds(self) -> float:
        """When it began, Unix time."""

    @property
    def model(self) -> str:
        """The name ``Begin`` echoed."""

    @property
    def audio_ms(self) -> int:
        """Accepted audio by the client's sample clock, replays not counted."""

    @property
    def used(self) -> Used:
        """What it has used beside audio."""

    @property
    def outcome(self) -> str:
        """Why it ended; empty while it lives."""


class Meter(Protocol):
    """Who reports sessions' use. Every call returns at once and does not raise: nothing waits for a report."""

    def begin(self, session: Metered) -> None:
        """A session was greeted."""

    def over(self, session: Metered) -> None:
        """It ended."""

    @property
    def full(self) -> bool:
        """Whether so much waits to be reported that no session should begin."""


class _Unmetered:
    full: Final = False

    def begin(self, session: Metered) -> None:
        """Nobody asks."""

    def over(self, session: Metered) -> None:
        """Nobody asks."""


UNMETERED: Final[Meter] = _Unmetered()
"""Sessions without reports."""


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
