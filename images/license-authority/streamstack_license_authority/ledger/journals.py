"""Taking a journal's records, each exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from streamstack_common.usage import chain_start
from streamstack_license_authority.chain import GapError, Record, Run, new_of
from streamstack_license_authority.folding import Reading, read
from streamstack_license_authority.ledger.sessions import hear
from streamstack_license_authority.ledger.tables import journals, records


class ForeignJournalError(Exception):
    """The journal belongs to another customer."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an upload: everything before record ``next_number`` is in the ledger."""

    accepted: int
    duplicates: int
    unreadable: int
    """Of the accepted ones, those that could not be understood: they are kept and bill nothing."""
    next_number: int

    def plus(self, later: "Taken") -> "Taken":
        """Return this and what was taken after it as one."""
        return Taken(
            self.accepted + later.accepted,
            self.duplicates + later.duplicates,
            self.unreadable + later.unreadable,
            later.next_number,
        )


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A journal as the ledger has it; moments are milliseconds since 1970."""

    journal_id: str
    customer: str
    next_number: int
    unreadable_records: int
    first_heard_ms: int
    heard_at_ms: int


def take(connection: Connection, *, journal_id: str, customer: str, run: Run, now_ms: int) -> Taken:
    """Take what is new of a run of records, in a transaction that writes.

    Raises:
        ForeignJournalError: another customer used this journal first.
        GapError: records before these are missing.
        ForkError: the journal has another history here.

    """
    next_number, head = _locked(connection, journal_id=journal_id, customer=customer, now_ms=now_ms)
    shared = min(run.last, next_number - 1)
    known = head if shared == next_number - 1 else _hash(connection, journal_id=journal_id, number=shared)
    new = new_of(run, next_number=next_number, known_number=shared, known_hash=known)
    reading = read(new)
    if new:
        _keep(connection, journal_id=journal_id, new=new, reading=reading, now_ms=now_ms)
        hear(connection, customer=customer, sessions=reading.sessions, now_ms=now_ms)
    return Taken(len(new), len(run.records) - len(new), reading.unreadable, max(next_number, run.last + 1))


def taken_before(connection: Connection, *, journal_id: str, customer: str, first: int) -> Taken:
    """Return how a journal stands before records from ``first`` on are taken.

    Raises:
        ForeignJournalError: another customer used this journal first.
        GapError: records before these are missing.

    """
    query = select(journals.c.customer, journals.c.next_number).where(journals.c.journal_id == journal_id)
    row = connection.execute(query).one_or_none()
    if row is not None and row.customer != customer:
        raise ForeignJournalError(journal_id)
    next_number = 1 if row is None else row.next_number
    if first > next_number:
        raise GapError(next_number, first=first)
    return Taken(0, 0, 0, next_number)


def list_journals(connection: Connection, *, customer: str | None, after: str, limit: int) -> tuple[JournalRow, ...]:
    """Return journals whose ids are greater than ``after``, in the order of their ids."""
    query = select(journals).where(journals.c.journal_id > after).order_by(journals.c.journal_id).limit(limit)
    if customer is not None:
        query = query.where(journals.c.customer == customer)
    return tuple(
        JournalRow(
            journal_id=row.journal_id,
            customer=row.customer,
            next_number=row.next_number,
            unreadable_records=row.unreadable_records,
            first_heard_ms=row.first_heard_ms,
            heard_at_ms=row.heard_at_ms,
        )
        for row in connection.execute(query)
    )


def _locked(connection: Connection, *, journal_id: str, customer: str, now_ms: int) -> tuple[int, bytes]:
    """Number and hash with which a journal goes on; nobody else takes records of it before this transaction ends.

    In SQLite the transaction itself is the lock.
    """
    empty = {
        "journal_id": journal_id,
        "customer": customer,
        "next_number": 1,
        "head": chain_start(journal_id),
        "unreadable_records": 0,
        "first_heard_ms": now_ms,
        "heard_at_ms": now_ms,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(journals).values(empty).on_conflict_do_nothing())
    query = select(journals.c.customer, journals.c.next_number, journals.c.head)
    row = connection.execute(query.where(journals.c.journal_id == journal_id).with_for_update()).one()
    if row.customer != customer:
        raise ForeignJournalError(journal_id)
    return row.next_number, bytes(row.head)


def _hash(connection: Connection, *, journal_id: str, number: int) -> bytes:
    if number == 0:
        return chain_start(journal_id)
    query = select(records.c.hash).where(records.c.journal_id == journal_id, records.c.number == number)
    return bytes(connection.execute(query).scalar_one())


def _keep(connection: Connection, *, journal_id: str, new: Sequence[Record], reading: Reading, now_ms: int) -> None:
    rows = [
        {
            "journal_id": journal_id,
            "number": record.number,
            "body": record.body.encode(),
            "hash": record.hash,
            "session_id": reading.session_of[record.number],
            "heard_at_ms": now_ms,
        }
        for record in new
    ]
    connection.execute(insert(records), rows)
    connection.execute(
        update(journals)
        .where(journals.c.journal_id == journal_id)
        .values(
            next_number=new[-1].number + 1,
            head=new[-1].hash,
            unreadable_records=journals.c.unreadable_records + reading.unreadable,
            heard_at_ms=now_ms,
        )
    )
