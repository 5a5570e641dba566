"""What a journal holds and how a report is judged against it. No I/O and no clock."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from streamstack_common.usage import UsageReport, chain_start
from streamstack_license_proxy.journal.errors import JournalMovedOnError

SEAL_BYTES: Final = 8
DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A report as the journal keeps it: ``body`` is its JSON, exactly what is hashed, uploaded and exported."""

    session_id: str
    sequence: int
    ended: bool
    body: str

    @classmethod
    def of(cls, report: UsageReport) -> Self:
        """Write a report down; one that says the same is always written the same."""
        return cls(report.session_id, report.sequence, report.outcome is not None, report.model_dump_json())

    def digest(self) -> bytes:
        """Short hash of the body: tells two reports with one sequence apart."""
        return hashlib.blake2b(self.body.encode("utf-8"), digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``taken_ms`` is the wall clock when it was first taken, milliseconds since 1970."""

    number: int
    taken_ms: int
    hash: bytes
    body: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a journal stands.

    Records ``pruned`` + 1 to ``head`` are held, those up to ``acknowledged`` are in the authority's ledger.
    ``oldest_ms`` is when the first one after that was taken, None where there is none.
    """

    journal_id: str
    head: int
    head_hash: bytes
    acknowledged: int
    pruned: int
    pruned_hash: bytes
    oldest_ms: int | None = None

    @classmethod
    def start(cls, journal_id: str) -> Self:
        """Return that of a journal without records."""
        before = chain_start(journal_id)
        return cls(journal_id, 0, before, 0, 0, before)

    @property
    def unacknowledged(self) -> int:
        """Number of records that the authority does not have."""
        return self.head - self.acknowledged

    def require_held(self, number: int) -> None:
        """Raise JournalMovedOnError where record ``number`` is gone, or is not the next one at most."""
        if not self.pruned < number <= self.head + 1:
            raise JournalMovedOnError(
                f"record {number} of journal {self.journal_id} is not held: "
                f"expected {self.pruned + 1} to {self.head + 1}"
            )

    def seal(self) -> bytes:
        """Seal what the one row of ``journal`` says."""
        return seal(self.journal_id, self.acknowledged, self.pruned, self.pruned_hash.hex())


@dataclass(frozen=True, slots=True)
class Known:
    """What a journal remembers of a session: its highest sequence and the digest of that report."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Records ``first``, ``first`` + 1 and so on of a journal; ``after`` and ``head`` are as in an upload."""

    journal_id: str
    first: int
    after: bytes
    head: bytes
    bodies: Sequence[str]


def seal(*fields: str | int) -> bytes:
    """Return a short hash over fields of a row: a damaged disk is noticed, not an attacker who has the file."""
    return hashlib.blake2b("\n".join(map(str, fields)).encode("utf-8"), digest_size=SEAL_BYTES).digest()


def judge(entry: Entry, known: Known | None) -> str | None:
    """Say why a report can never be taken, or None where it is new or was there before (see :func:`is_new`)."""
    if known is None or entry.sequence != known.sequence or entry.digest() == known.digest:
        return None
    return f"sequence {entry.sequence}: another report of this session has it; expected a higher one"


def is_new(entry: Entry, known: Known | None) -> bool:
    """Tell whether a report says more than the journal has: a record is made of it."""
    return known is None or entry.sequence > known.sequence
