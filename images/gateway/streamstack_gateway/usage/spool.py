"""Reports that no proxy has taken yet, in a file that outlives the container: SQLite, one row a session.

Every call may wait for the disk, so a thread makes them. What is written is on the disk when the call returns.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from streamstack_common.usage import UsageReport

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""``user_version`` of the file."""

BUSY_SECONDS: Final = 2.0
DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS report"
    " (session_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID, STRICT"
)
_UPSERT: Final = (
    "INSERT INTO report VALUES (?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
    " SET sequence = excluded.sequence, body = excluded.body WHERE excluded.sequence > sequence"
)


class SpoolError(Exception):
    """The spool cannot be used now: the disk is full, away or read-only. The message names the file."""


class SpoolLostError(Exception):
    """The file was damaged: it is set aside, and an empty one has taken its place."""


class Spool:
    """The file; it is made when it is first opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether :meth:`open` was called and went well."""
        return self._database is not None

    def open(self) -> list[UsageReport]:
        """What an earlier process left. A damaged file is set aside. Raises SpoolError."""
        try:
            return self._open()
        except _DamagedError as damaged:
            self._set_aside(damaged)
        try:
            return self._open()
        except _DamagedError as damaged:
            raise SpoolError(f"{self.path}: {damaged}") from damaged

    def write(self, reports: Iterable[UsageReport]) -> None:
        """Keep these, each in the place of an older one of its session. Raises SpoolError and SpoolLostError."""
        self._change(_UPSERT, [(each.session_id, each.sequence, each.model_dump_json()) for each in reports])

    def delete(self, obsolete: Mapping[str, int]) -> None:
        """Drop sessions' reports up to these sequences. Raises SpoolError and SpoolLostError."""
        self._change("DELETE FROM report WHERE session_id = ? AND sequence <= ?", list(obsolete.items()))

    def close(self) -> None:
        """Write back and let go."""
        if self._database is not None:
            with suppress(sqlite3.Error):  # what is in the write-ahead log stays there
                self._database.close()
            self._database = None

    def _open(self) -> list[UsageReport]:
        try:
            _make_private(self.path)
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}") from error
        try:
            # Calls come one after the other, but not all from the same thread.
            database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            reports = self._prepare(database)
        except sqlite3.Error as error:
            database.close()
            raise self._error(error) from error
        except _DamagedError:
            database.close()
            raise
        self._database = database
        return reports

    def _prepare(self, database: sqlite3.Connection) -> list[UsageReport]:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found not in {0, FORMAT}:
            raise _DamagedError(f"its format is {found}, expected {FORMAT}")
        (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise _DamagedError(str(health))
        database.execute(_TABLE)
        database.execute(f"PRAGMA user_version = {FORMAT}")
        rows = database.execute("SELECT session_id, sequence, body FROM report").fetchall()
        return [report for row in rows if (report := self._read(*row)) is not None]

    def _read(self, session_id: str, sequence: int, body: str) -> UsageReport | None:
        try:
            report = UsageReport.model_validate_json(body)
        except ValidationError:
            report = None
        if report is None or (report.session_id, report.sequence) != (session_id, sequence):
            log.error("usage spool %s: the report of session %s cannot be read; it stays there", self.path, session_id)
            return None
        return report

    def _change(self, statement: str, rows: list[tuple[str, int, str]] | list[tuple[str, int]]) -> None:
        database = self._database
        if database is None:
            raise SpoolError(f"{self.path}: not open")
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany(statement, rows)
                database.execute("COMMIT")
            except sqlite3.Error:
                with suppress(sqlite3.Error):  # some errors have rolled back already
                    database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            problem = self._error(error)
            if not isinstance(problem, _DamagedError):
                raise problem from error
            self._set_aside(problem)
            raise SpoolLostError(str(problem)) from error

    def _error(self, error: sqlite3.Error) -> "SpoolError | _DamagedError":
        # Not every error of the module comes from SQLite itself.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return _DamagedError(str(error)) if code in DAMAGE else SpoolError(f"{self.path}: {error}")

    def _set_aside(self, damaged: "_DamagedError") -> None:
        self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        log.error("usage spool %s is damaged: %s; it is set aside as %s", self.path, damaged, aside.name)
        try:
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}") from error


def _make_private(path: Path) -> None:
    """Make an empty file that is this user's alone where there is none; SQLite gives its log the same mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


class _DamagedError(Exception):
    """Not a spool any more, or not one of this version's."""
