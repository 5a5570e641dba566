"""A license proxy's journal as the license authority sees it: chained records, uploaded in any order and number."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from streamstack_common.usage import UsageReport, chain_start, chained

STARTED_AT = (datetime.now(UTC) - timedelta(days=3)).replace(hour=10, minute=0, second=0, microsecond=0)
"""Recent enough to be billed on its own day."""


def report(session_id: str = "session-1", *, sequence: int = 1, audio_ms: int = 1000, **more: Any) -> UsageReport:
    """A good report."""
    return UsageReport(
        **{
            "session_id": session_id,
            "sequence": sequence,
            "audio_ms": audio_ms,
            "started_at": STARTED_AT,
            "reported_at": STARTED_AT,
            "model": "english",
            **more,
        }
    )


@dataclass
class UsageJournal:
    """Records from 1 on; ``hashes[n]`` is that of record n, ``hashes[0]`` what stands before the first."""

    journal_id: str = field(default_factory=lambda: secrets.token_hex(16))
    bodies: list[str] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hashes = [chain_start(self.journal_id)]
        bodies, self.bodies = self.bodies, []
        self.append(*bodies)

    def append(self, *bodies: str | UsageReport) -> None:
        """Add records."""
        for body in bodies:
            text = body if isinstance(body, str) else body.model_dump_json()
            self.bodies.append(text)
            self.hashes.append(chained(self.hashes[-1], len(self.bodies), text))

    @property
    def path(self) -> str:
        """Where its records go."""
        return f"/v1/journals/{self.journal_id}/records"

    def upload(self, first: int = 1, last: int | None = None) -> dict[str, Any]:
        """Body of an upload of records ``first`` to ``last``."""
        end = len(self.bodies) if last is None else last
        return {
            "first": first,
            "after": self.hashes[first - 1].hex(),
            "head": self.hashes[end].hex(),
            "records": self.bodies[first - 1 : end],
        }

    @classmethod
    def of(cls, reports: Sequence[UsageReport]) -> "UsageJournal":
        """A new journal with these."""
        return cls(bodies=[report.model_dump_json() for report in reports])
