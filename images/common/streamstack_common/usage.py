"""What is said of a session's use, from the gateway to the license authority, and how records of it are chained.

Never audio, never text, nothing that tells who speaks (invariant "sealed"). A report is cumulative: it replaces every
earlier one of its session, so it may be sent any number of times, late and in any order (invariant "billed-once").
"""

import hashlib
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from streamstack_common.license_status import Timestamp

USAGE_PATH: Final = "/v1/usage"
BACKLOG_PATH: Final = "/v1/usage/backlog"
MAX_REPORTS: Final = 200
"""Reports of one request."""
MAX_USAGE_BYTES: Final = 512 * 1024
"""Body of one request; the longest report has 2 KiB."""

Name = Annotated[str, Field(min_length=1, max_length=128)]


class UsageReport(BaseModel):
    """One session as it stands: everything since its begin.

    ``sequence`` counts a session's reports from 1; the highest one counts. ``audio_ms`` is accepted audio by the
    client's sample clock, whole milliseconds, replays not counted. ``model`` is the name that ``Begin`` echoed.
    ``transcript_characters`` are those of ended turns. ``outcome`` is None while the session lives, and why it ended
    in its last report. Both times are the gateway's clock.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    session_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]
    sequence: Annotated[int, Field(ge=1, le=2**31)]
    started_at: Annotated[Timestamp, Field(strict=False)]
    reported_at: Annotated[Timestamp, Field(strict=False)]
    model: Name
    audio_ms: Annotated[int, Field(ge=0, le=2**40)]
    transcript_characters: Annotated[int, Field(ge=0, le=2**40)] = 0
    features: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], ...], Field(max_length=16)] = ()
    tenant: Name | None = None
    outcome: Name | None = None


class UsageBatch(BaseModel):
    """Body of ``POST /v1/usage`` to a license proxy. Each report is judged for itself, so each is parsed for itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reports: Annotated[tuple[object, ...], Field(min_length=1, max_length=MAX_REPORTS)]


class RejectedReport(BaseModel):
    """A report that can never be taken: sending it again is no use."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: int
    reason: str


class UsageReceipt(BaseModel):
    """Answer 200 to a batch: everything in it is on the proxy's disk, but for what was rejected.

    Any other answer, 507 (the disk is full) and 503 among them, acknowledges nothing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rejected: tuple[RejectedReport, ...] = ()


class UsageBacklog(BaseModel):
    """Body of ``GET /v1/usage/backlog``: what one proxy's journal holds that the authority does not have yet.

    Empty without usage billing. ``oldest_seconds`` is the age of its oldest record, None when there is none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    journal_id: str | None = None
    records: Annotated[int, Field(ge=0)] = 0
    oldest_seconds: float | None = None


def chain_start(journal_id: str) -> bytes:
    """Return what stands before a journal's first record."""
    return hashlib.sha256(b"streamstack usage journal 1\n" + journal_id.encode("ascii")).digest()


def chained(before: bytes, number: int, body: str) -> bytes:
    """Return the hash of record ``number`` (from 1), whose ``body`` is a report's JSON exactly as it is stored."""
    return hashlib.sha256(before + number.to_bytes(8, "big") + body.encode("utf-8")).digest()
