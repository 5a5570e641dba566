"""An open journal file: everything that is written to it and read by who writes. For one thread at a time."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from streamstack_common.usage import chained
from streamstack_license_proxy.journal import statements
from streamstack_license_proxy.journal.errors import JournalDamagedError, typed
from streamstack_license_proxy.journal.records import Entry, Known, Position, Record, is_new, judge, seal

MODE: Final = 0o600
CLOCK_ERROR_MS: Final = 24 * 3600 * 1000
"""A record from further in the future than this was taken by a wrong clock: it is as old as any."""
SWEEP_EVERY_MS: Final = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Retention:
    """What is forgotten, by age in milliseconds: records in the ledger, and sessions that ended or fell silent.

    A session that is forgotten costs nothing but a record of a late duplicate, which the ledger knows.
    """

    records_ms: int
    ended_ms: int = 24 * 3600 * 1000
    silent_ms: int = 7 * 24 * 3600 * 1000

    @classmethod
    def of_days(cls, days: float) -> Self:
        """Keep records that the ledger has for so many days."""
        return cls(int(days * 24 * 3600 * 1000))

    def without_records(self) -> Self:
        """Keep none of them: the disk is short of space."""
        return replace(self, records_ms=0)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many records and sessions went, and whether it is worth to go on at once."""

    records: int
    sessions: int
    more: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of reports: for each why it can never be taken or None, and how many made a record."""

    reasons: tuple[str | None, ...]
    new: int


class Store:
    """A journal's connection and where it stands; ``position`` is what was committed last."""

    def __init__(self, connection: sqlite3.Connection, position: Position) -> None:
        self._db = connection
        self.position = position
        self._swept: str | None = None
        self._sweep_began_ms = -SWEEP_EVERY_MS

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside lasts once this is left, or nothing of it happened.

        Raises:
            JournalError: typed; on disk everything is as before.

        """
        before = self.position
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self.position = before
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise typed(error, "usage journal") from error
            raise

    @property
    def broken(self) -> bool:
        """Whether a transaction could not even be given up: the file has to be opened again."""
        return self._db.in_transaction

    def take(self, entries: Sequence[Entry], now_ms: int) -> Taken:
        """Make records of the reports that say something new; inside a transaction."""
        reasons: list[str | None] = []
        start = self.position
        head, head_hash = start.head, start.head_hash
        for entry in entries:
            known = self._known(entry.session_id)
            reasons.append(judge(entry, known))
            if is_new(entry, known):
                head += 1
                head_hash = chained(head_hash, head, entry.body)
                self._db.execute(statements.ADD_RECORD, (head, now_ms, head_hash, entry.body))
                self._remember(entry, now_ms)
        oldest_ms = now_ms if start.oldest_ms is None and head > start.head else start.oldest_ms
        self.position = replace(start, head=head, head_hash=head_hash, oldest_ms=oldest_ms)
        return Taken(tuple(reasons), head - start.head)

    def take_again(self, entry: Entry, taken_ms: int) -> None:
        """Make a record of a report of another journal, as old as it is; inside a transaction."""
        before = self.position
        self.take([entry], taken_ms)
        if before.oldest_ms is not None:
            self.position = replace(self.position, oldest_ms=before.oldest_ms)

    def set_acknowledged(self, through: int) -> None:
        """Note that everything up to ``through``, and nothing else, is in the ledger; inside a transaction.

        ``through`` is from ``pruned`` to ``head``: an authority may have lost what it had.
        """
        if not self.position.pruned <= through <= self.position.head:
            raise ValueError(f"record {through}: expected {self.position.pruned} to {self.position.head}")
        self._move(replace(self.position, acknowledged=through, oldest_ms=self._taken_ms(through + 1)))

    def prune(self, now_ms: int, retention: Retention, *, limit: int) -> Pruned:
        """Forget at most ``limit`` old records and look at as many sessions; inside a transaction."""
        records = self._prune_records(now_ms, now_ms - retention.records_ms, limit)
        sessions = self._sweep(now_ms, retention, limit)
        return Pruned(records, sessions, more=records == limit or self._swept is not None)

    def create(self, position: Position) -> None:
        """Write the row of a new journal; inside a transaction."""
        self._db.execute(statements.ADD_JOURNAL, _row(position))
        self.position = position

    def unused_bytes(self) -> int:
        """Bytes of the file that hold nothing any more; they are used before it grows."""
        free, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
        return int(free * size)

    def checkpoint(self) -> None:
        """Move what is in the log into the main file if that can be done, so that the log is used from its start."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Close the file; what was committed is there whether this is reached or not."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _known(self, session_id: str) -> Known | None:
        row = self._db.execute(statements.SESSION, (session_id,)).fetchone()
        if row is None:
            return None
        sequence, digest, ended, sealed = row
        if not isinstance(digest, bytes) or sealed != seal(session_id, sequence, digest.hex(), ended):
            raise JournalDamagedError("usage journal: what it knows of a session was changed")
        return Known(sequence, digest)

    def _remember(self, entry: Entry, now_ms: int) -> None:
        digest, ended = entry.digest(), int(entry.ended)
        sealed = seal(entry.session_id, entry.sequence, digest.hex(), ended)
        self._db.execute(statements.REMEMBER_SESSION, (entry.session_id, entry.sequence, digest, ended, now_ms, sealed))

    def _taken_ms(self, number: int) -> int | None:
        row = self._db.execute(statements.TAKEN_MS, (number,)).fetchone()
        return None if row is None else _whole(row[0])

    def _move(self, position: Position) -> None:
        self._db.execute(statements.MOVE_JOURNAL, _row(position))
        self.position = position

    def _prune_records(self, now_ms: int, before_ms: int, limit: int) -> int:
        position = self.position
        rows = self._db.execute(
            statements.PRUNABLE, (position.pruned, min(position.acknowledged, position.pruned + limit))
        ).fetchall()
        last: tuple[int, bytes] | None = None
        for number, taken_ms, hash_ in rows:
            if before_ms < _whole(taken_ms) <= now_ms + CLOCK_ERROR_MS:
                break
            last = (number, hash_)
        if last is None:
            return 0
        self._db.execute(statements.DROP_RECORDS, (last[0],))
        self._move(replace(position, pruned=last[0], pruned_hash=last[1]))
        return last[0] - position.pruned

    def _sweep(self, now_ms: int, retention: Retention, limit: int) -> int:
        """Look at the next sessions in the order of their ids: at all of them every ``SWEEP_EVERY_MS``."""
        if self._swept is None:
            if abs(now_ms - self._sweep_began_ms) < SWEEP_EVERY_MS:
                return 0
            self._swept, self._sweep_began_ms = "", now_ms
        rows = self._db.execute(statements.SESSIONS_AFTER, (self._swept, limit)).fetchall()
        self._swept = rows[-1][0] if len(rows) == limit else None
        old = [
            (session_id,)
            for session_id, ended, seen_ms in rows
            if not now_ms - (retention.ended_ms if ended else retention.silent_ms)
            < _whole(seen_ms)
            <= now_ms + CLOCK_ERROR_MS
        ]
        self._db.executemany(statements.FORGET_SESSION, old)
        return len(old)


def connect(
    path: Path, *, read_only: bool = False, durable: bool = True, checkpoint_pages: int = 1000
) -> sqlite3.Connection:
    """Open a journal's file, which must exist to be read.

    ``durable`` is whether a commit waits for the disk, ``checkpoint_pages`` how long the log may grow.

    Raises:
        sqlite3.Error: as always.

    """
    # Statements are prepared once, transactions are begun and ended by the store alone. A store is made by one thread
    # and used by another, one after the other.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
            connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def read_position(connection: sqlite3.Connection) -> Position:
    """Return where a journal stands.

    Raises:
        JournalDamagedError: it does not say, or what it says was changed.
        sqlite3.Error: as always.

    """
    connection.execute(statements.ANY_SESSION).fetchone()
    row = connection.execute(statements.JOURNAL).fetchone()
    if row is None:
        raise JournalDamagedError("usage journal: it does not say which one it is")
    journal_id, acknowledged, pruned, pruned_hash, sealed = row
    if not isinstance(pruned_hash, bytes) or not isinstance(journal_id, str):
        raise JournalDamagedError("usage journal: where it stands cannot be read")
    position = Position(journal_id, pruned, pruned_hash, acknowledged, pruned, pruned_hash)
    if position.seal() != sealed:
        raise JournalDamagedError("usage journal: where it stands was changed")
    last = connection.execute(statements.LAST_RECORD).fetchone()
    if last is not None and last[0] > pruned:
        position = replace(position, head=last[0], head_hash=last[1])
    if position.acknowledged > position.head:
        raise JournalDamagedError(f"usage journal: records up to {acknowledged} are in the ledger; the last is gone")
    oldest = connection.execute(statements.TAKEN_MS, (acknowledged + 1,)).fetchone()
    return replace(position, oldest_ms=None if oldest is None else _whole(oldest[0]))


def held(connection: sqlite3.Connection, first: int, limit: int) -> Iterator[Record]:
    """Give records from ``first`` on, at most ``limit``, in order; some may be missing in between.

    Raises:
        JournalDamagedError: one is no text.
        sqlite3.Error: as always.

    """
    for number, taken_ms, hash_, body in connection.execute(statements.RECORDS_FROM, (first, limit)):
        try:
            yield Record(number, taken_ms, hash_, body.decode("utf-8"))
        except UnicodeDecodeError:
            raise JournalDamagedError(f"usage journal: record {number} was changed") from None


def _whole(value: object) -> int:
    """Return a number of a row; a damaged one may hold anything."""
    if not isinstance(value, int):
        raise JournalDamagedError("usage journal: expected a number in a row")
    return value


def _row(position: Position) -> dict[str, str | int | bytes]:
    return {
        "journal_id": position.journal_id,
        "acknowledged": position.acknowledged,
        "pruned": position.pruned,
        "pruned_hash": position.pruned_hash,
        "seal": position.seal(),
    }
