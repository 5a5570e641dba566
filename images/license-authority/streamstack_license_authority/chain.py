"""Whether an upload's records follow from each other and from what the ledger has of their journal. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamstack_common.usage import chained

LAST_NUMBER: Final = 2**63 - 1
"""What a database can count."""


class ChainError(ValueError):
    """The records do not follow from each other: they are not what a journal holds."""


class GapError(Exception):
    """Records from ``next_number`` on are missing before record ``first``."""

    def __init__(self, next_number: int, *, first: int) -> None:
        super().__init__(f"records {next_number} to {first - 1} are missing; expected them before record {first}")
        self.next_number = next_number


class ForkError(Exception):
    """A record before ``next_number`` is known with another hash."""

    def __init__(self, next_number: int) -> None:
        super().__init__(f"record {next_number - 1} or an earlier one is known with another hash")
        self.next_number = next_number


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a journal; ``hash`` covers it and everything before it."""

    number: int
    body: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Successive records, at least one; ``after`` is the hash of what stands before the first."""

    after: bytes
    records: tuple[Record, ...]

    @property
    def first(self) -> int:
        """Number of the first."""
        return self.records[0].number

    @property
    def last(self) -> int:
        """Number of the last."""
        return self.records[-1].number


def linked(*, first: int, after: bytes, head: bytes, bodies: Sequence[str]) -> Run:
    """Return the records of an upload.

    Raises:
        ChainError: their chain does not end in ``head``, a body cannot be encoded, or a number is out of all bounds.

    """
    if first + len(bodies) - 1 > LAST_NUMBER:
        raise ChainError(f"expected numbers up to {LAST_NUMBER}")
    records, before = [], after
    for number, body in enumerate(bodies, start=first):
        try:
            before = chained(before, number, body)
        except UnicodeEncodeError as error:
            raise ChainError(f"record {number}: expected text that UTF-8 can encode") from error
        records.append(Record(number, body, before))
    if not records or before != head:
        raise ChainError(f"the hash of record {first + len(bodies) - 1} is not the head; expected an unbroken chain")
    return Run(after, tuple(records))


def new_of(run: Run, *, next_number: int, known_number: int, known_hash: bytes) -> tuple[Record, ...]:
    """Return the records that the ledger does not have yet.

    Everything before ``next_number`` is there. ``known_hash`` is that of record ``known_number``, the last one which
    the ledger and the run (with what stands before it) share: equal there means equal everywhere before.

    Raises:
        GapError: records between the ledger's last and the first are missing.
        ForkError: the journal has another history.

    """
    if run.first > next_number:
        raise GapError(next_number, first=run.first)
    if known_number != min(run.last, next_number - 1):
        raise ValueError(f"expected the hash of record {min(run.last, next_number - 1)}, got {known_number}'s")
    shared = run.after if known_number < run.first else run.records[known_number - run.first].hash
    if shared != known_hash:
        raise ForkError(next_number)
    return tuple(record for record in run.records if record.number >= next_number)
