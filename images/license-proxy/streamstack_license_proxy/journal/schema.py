"""The journal's tables, and how a file of an older version becomes one of this version.

A step is never changed once it was released: a file knows by its ``user_version`` how many it has had.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from streamstack_license_proxy.journal.errors import JournalDamagedError, JournalUnusableError

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # One row. Records up to `acknowledged` are in the authority's ledger, those up to `pruned` are gone; `seal`
        # covers the others (records.seal).
        """CREATE TABLE journal (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            journal_id TEXT NOT NULL,
            acknowledged INTEGER NOT NULL,
            pruned INTEGER NOT NULL,
            pruned_hash BLOB NOT NULL,
            seal BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE records (
            number INTEGER PRIMARY KEY,
            taken_ms INTEGER NOT NULL,
            hash BLOB NOT NULL,
            body TEXT NOT NULL
        ) STRICT""",
        # The highest sequence of each session, and what it said.
        """CREATE TABLE sessions (
            session_id TEXT PRIMARY KEY,
            sequence INTEGER NOT NULL,
            digest BLOB NOT NULL,
            ended INTEGER NOT NULL,
            seen_ms INTEGER NOT NULL,
            seal BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
"""Statements of each step: the first makes version 1 of an empty file."""

APPLICATION_ID: Final = 0x53535544
"""``SSUD``: tells a journal from any other SQLite file (sqlite.org/pragma.html#pragma_application_id)."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many steps a file has had."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Take the steps that are missing, all of them or none.

    Raises:
        JournalUnusableError: a newer version made the file.
        JournalDamagedError: it is none of ours.
        sqlite3.Error: as always.

    """
    version = version_of(connection)
    if version > len(steps):
        raise JournalUnusableError(
            f"the usage journal has version {version}; this license proxy knows up to {len(steps)}: "
            "run the newer one again, or move the journal away"
        )
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and (version or connection.execute("SELECT 1 FROM sqlite_schema").fetchone()):
        raise JournalDamagedError("usage journal: the file is another SQLite database")
    if version == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
