"""Times and bounds of a link."""

from dataclasses import dataclass
from typing import Final

from streamstack_common.contracts.rpc import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from streamstack_gateway.link.outbox import OutboxLimits

DEFAULT_LIMITS: Final = OutboxLimits()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """When silence is an end, and how much may wait. ``connect_seconds`` bounds the time to the first status.

    ``write_interval_seconds``: an idle link is written at once, a busy one this often. A gRPC message costs about
    100 µs at each end whatever it carries; at 500 sessions that was a third of the gateway's core.
    """

    heartbeat_seconds: float = HEARTBEAT_SECONDS
    missed_heartbeats: int = MISSED_HEARTBEATS
    connect_seconds: float = 5.0
    write_interval_seconds: float = 0.004
    outbox: OutboxLimits = DEFAULT_LIMITS

    def silent_intervals(self, *, is_up: bool) -> int:
        """Heartbeat intervals without a word from the server that end the link."""
        return self.missed_heartbeats if is_up else max(1, round(self.connect_seconds / self.heartbeat_seconds))


DEFAULT_SETTINGS: Final = LinkSettings()
