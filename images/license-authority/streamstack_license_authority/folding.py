"""What records say of each session: the highest value of each count, and the rest of the newest report. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from streamstack_common.usage import UsageReport
from streamstack_license_authority.chain import Record

BILLED_BEFORE: Final = timedelta(days=364)
"""How long before its report came a session is billed: usage that is carried by hand may come once a year."""
BILLED_AFTER: Final = timedelta(days=1)
"""How far a gateway's clock may be ahead, and still say on which day a session is billed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One session as a batch tells it. Counts are cumulative, so that the highest one ever heard is what holds."""

    session_id: str
    started_at: datetime
    audio_ms: int
    transcript_characters: int
    sequence: int
    model: str
    tenant: str | None
    features: tuple[str, ...]
    outcome: str | None

    def merged(self, other: "Heard") -> "Heard":
        """Return both as one; of two with the same sequence this one holds."""
        newest = other if other.sequence > self.sequence else self
        return replace(
            newest,
            started_at=min(self.started_at, other.started_at),
            audio_ms=max(self.audio_ms, other.audio_ms),
            transcript_characters=max(self.transcript_characters, other.transcript_characters),
        )


def billed_day(started_at: datetime, *, received_ms: int) -> date:
    """Return the UTC day on which a session is billed: of its start, as far as the authority's clock can believe it."""
    received = datetime.fromtimestamp(received_ms / 1000, UTC).date()
    return min(max(started_at.astimezone(UTC).date(), received - BILLED_BEFORE), received + BILLED_AFTER)


def heard_of(report: UsageReport) -> Heard:
    """Return what one report says."""
    return Heard(
        session_id=report.session_id,
        started_at=report.started_at.astimezone(UTC),
        audio_ms=report.audio_ms,
        transcript_characters=report.transcript_characters,
        sequence=report.sequence,
        model=_storable(report.model),
        tenant=None if report.tenant is None else _storable(report.tenant),
        features=report.features,
        outcome=None if report.outcome is None else _storable(report.outcome),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """Records with the session that each is about, None where a record says nothing that can be understood."""

    session_of: dict[int, str | None]
    sessions: tuple[Heard, ...]
    """In the order of their ids: whoever locks their rows in this order never waits in a circle."""

    @property
    def unreadable(self) -> int:
        """Records that bill nothing."""
        return sum(session is None for session in self.session_of.values())


def read(records: Iterable[Record]) -> Reading:
    """Parse records and fold them by session."""
    session_of: dict[int, str | None] = {}
    sessions: dict[str, Heard] = {}
    for record in records:
        try:
            heard = heard_of(UsageReport.model_validate_json(record.body))
        except ValidationError:
            session_of[record.number] = None
            continue
        session_of[record.number] = heard.session_id
        known = sessions.get(heard.session_id)
        sessions[heard.session_id] = heard if known is None else known.merged(heard)
    return Reading(session_of, tuple(sessions[key] for key in sorted(sessions)))


def _storable(text: str) -> str:
    """Replace the one character that PostgreSQL cannot keep."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
