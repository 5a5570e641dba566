"""What the API is put together from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.metrics import Metrics
from streamstack_license_authority.signing import SigningKeys


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a request may need."""

    database: Database
    keys: SigningKeys
    metrics: Metrics
    public_url: str
    is_admin: Callable[[str | None], bool]
    """Whether an ``Authorization`` header carries the administrators' credential."""


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def moment(milliseconds: int) -> datetime:
    """Return a moment that the ledger tells in milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
