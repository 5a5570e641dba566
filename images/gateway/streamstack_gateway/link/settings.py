"""Times and bounds of a link."""

from dataclasses import dataclass
from typing import Final

from streamstack_common.contracts.rpc import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from streamstack_gateway.link.outbox import OutboxLimits

DEFAULT_LIMITS: Final = OutboxLimits()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """When silence is an end, and how much may wait. ``connect_seconds`` bounds the time to the first status."""

    heartbeat_seconds: float = HEARTBEAT_SECONDS
    missed_heartbeats: int = MISSED_HEARTBEATS
    connect_seconds: float = 5.0
    outbox: OutboxLimits = DEFAULT_LIMITS

    def silent_intervals(self, *, is_up: bool) -> int:
        """Heartbeat intervals without a word from the server that end the link."""
        return self.missed_heartbeats if is_up else max(1, round(self.connect_seconds / self.heartbeat_seconds))


DEFAULT_SETTINGS: Final = LinkSettings()
