"""Reads a journal while another thread writes it: in a write-ahead log neither waits for the other."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streamstack_common.usage import chained
from streamstack_license_proxy.journal import files
from streamstack_license_proxy.journal.errors import JournalDamagedError, typed
from streamstack_license_proxy.journal.records import Batch, Position
from streamstack_license_proxy.journal.store import connect, held, read_position
from streamstack_license_proxy.journal.verification import hash_at

_ROW_BYTES: Final = 8
"""What a record adds to its body where it is sent: quotes, a comma and its number."""


class Reader:
    """A connection of its own, opened where it is needed; for any thread, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def position(self) -> Position:
        """Return where the journal stands on disk.

        Raises:
            JournalError: it cannot be read.

        """
        with self._snapshot() as connection:
            return read_position(connection)

    def batch(self, first: int | None, *, max_records: int, max_bytes: int) -> Batch:
        """Return records from ``first`` on, by default from the first that the authority does not have.

        As many as there are and fit; at least one, where there is one. ``max_bytes`` is of JSON strings.

        Raises:
            JournalMovedOnError: the records are not held any more.
            JournalError: it cannot be read, or the chain does not hold.

        """
        with self._snapshot() as connection:
            position = read_position(connection)
            number = position.acknowledged + 1 if first is None else first
            position.require_held(number)
            after = head = hash_at(connection, position, number - 1)
            bodies: list[str] = []
            room = max_bytes
            for record in held(connection, number, max_records):
                room -= _json_bytes(record.body)
                if room < 0 and bodies:
                    break
                if record.number != number + len(bodies):
                    raise JournalDamagedError(f"usage journal: record {number + len(bodies)} is missing")
                head = chained(head, record.number, record.body)
                if head != record.hash:
                    raise JournalDamagedError(f"usage journal: record {record.number} was changed")
                bodies.append(record.body)
            return Batch(position.journal_id, number, after, head, bodies)

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Have nothing read, and no connection open, while the files are exchanged."""
        with self._lock:
            self._close()
            yield

    def close(self) -> None:
        """Close the connection; a later read opens one again."""
        with self._lock:
            self._close()

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give one state of the journal, whatever is written meanwhile."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connect(self._folder / files.NAME, read_only=True)
                self._connection.execute("BEGIN")
                yield self._connection
            except sqlite3.Error as error:
                self._close()
                raise typed(error, "usage journal") from error
            finally:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _json_bytes(body: str) -> int:
    """Return the bytes of a body as a JSON string: quotes and backslashes take two, control characters never occur."""
    return len(body.encode("utf-8")) + body.count('"') + body.count("\\") + _ROW_BYTES
