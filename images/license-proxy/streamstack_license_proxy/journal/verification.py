"""Whether a journal's chain holds, and what can be saved of one whose file is damaged. Reads, never writes."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streamstack_common.usage import UsageReport, chained
from streamstack_license_proxy.journal import statements
from streamstack_license_proxy.journal.errors import JournalDamagedError, is_unreadable
from streamstack_license_proxy.journal.records import Entry, Position
from streamstack_license_proxy.journal.store import held, read_position

_ALL: Final = -1
"""LIMIT without one (sqlite.org/lang_select.html)."""
BLIND_STEPS: Final = 20_000
"""How many numbers are tried one by one behind a damaged page where the last record cannot be found either."""


def verify_unacknowledged(connection: sqlite3.Connection, position: Position) -> None:
    """Follow the chain over every record that the authority does not have.

    Raises:
        JournalDamagedError: a record is missing or changed.
        sqlite3.Error: as always.

    """
    number, head = position.acknowledged, hash_at(connection, position, position.acknowledged)
    for record in held(connection, number + 1, _ALL):
        number += 1
        if record.number != number:
            raise JournalDamagedError(f"usage journal: record {number} is missing")
        head = chained(head, number, record.body)
        if record.hash != head:
            raise JournalDamagedError(f"usage journal: record {number} or the one before was changed")


def hash_at(connection: sqlite3.Connection, position: Position, number: int) -> bytes:
    """Return the hash of a record that is held, or of the last one that is not.

    Raises:
        JournalDamagedError: it is missing.
        sqlite3.Error: as always.

    """
    if number == position.pruned:
        return position.pruned_hash
    for record in held(connection, number, 1):
        if record.number == number:
            return record.hash
    raise JournalDamagedError(f"usage journal: record {number} is missing")


@dataclass(slots=True)
class Salvage:
    """What could be read of a damaged journal; ``lost`` counts records that were there and are not any more."""

    saved: int = 0
    lost: int = 0


def salvageable(connection: sqlite3.Connection, salvage: Salvage) -> Iterator[tuple[Entry, int]]:
    """Give each report, and when it was taken, of what the authority does not have and the chain still vouches for.

    A record counts where its hash follows from the one before it. Where the journal does not say any more what the
    authority has, everything counts: the authority takes each once.

    Raises:
        sqlite3.Error: something else than damage keeps it from being read.

    """
    try:
        position: Position | None = read_position(connection)
    except JournalDamagedError:
        position = None
    except sqlite3.Error as error:
        if not is_unreadable(error):
            raise
        position = None
    expected = position.acknowledged + 1 if position is not None else None
    before: tuple[int, bytes] | None = (position.pruned, position.pruned_hash) if position is not None else None
    for number, taken_ms, hash_, body in _readable(connection, position):
        follows = before is not None and before[0] == number - 1 and _hash(before[1], number, body) == hash_
        before = (number, hash_)
        if expected is not None and number < expected:
            continue
        entry = _entry(body) if follows else None
        if expected is not None:
            salvage.lost += number - expected
        expected = number + 1
        if entry is None:
            salvage.lost += 1
        else:
            salvage.saved += 1
            yield entry, taken_ms


def _readable(connection: sqlite3.Connection, position: Position | None) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Every row of records that can be read, past what cannot."""
    number = position.acknowledged - 1 if position is not None else 0
    last: int | None = None
    while True:
        try:
            for row in connection.execute(statements.RECORDS_FROM, (number + 1, _ALL)):
                if not _whole(row):
                    continue
                number = row[0]
                yield row
        except sqlite3.Error as error:
            if not is_unreadable(error):
                raise
            # Behind the page that cannot be read there may be others.
            if last is None:
                last = _last_number(connection, otherwise=number + BLIND_STEPS)
            number += 1
            if number >= last:
                return
        else:
            return


def _last_number(connection: sqlite3.Connection, *, otherwise: int) -> int:
    try:
        row = connection.execute(statements.LAST_RECORD).fetchone()
    except sqlite3.Error as error:
        if not is_unreadable(error):
            raise
        return otherwise
    return otherwise if row is None else int(row[0])


def _whole(row: tuple[object, ...]) -> bool:
    number, taken_ms, hash_, body = row
    return (
        isinstance(number, int) and isinstance(taken_ms, int) and isinstance(hash_, bytes) and isinstance(body, bytes)
    )


def _hash(before: bytes, number: int, body: bytes) -> bytes | None:
    try:
        return chained(before, number, body.decode("utf-8"))
    except (UnicodeDecodeError, OverflowError):
        return None


def _entry(body: bytes) -> Entry | None:
    try:
        report = UsageReport.model_validate_json(body)
    except ValueError:
        return None
    return Entry(report.session_id, report.sequence, report.outcome is not None, body.decode("utf-8"))
