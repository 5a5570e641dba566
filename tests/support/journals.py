"""Usage journals for tests: reports, and what a folder holds, read the way an outsider would."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamstack_common.usage import UsageReport, chain_start, chained
from streamstack_license_proxy.journal.records import Entry

STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = 1_800_000_000_000


def report(session: str = "session-0", sequence: int = 1, **changes: Any) -> UsageReport:
    """A report of a session whose audio grows by a second with each."""
    fields: dict[str, Any] = {
        "session_id": session,
        "sequence": sequence,
        "started_at": STARTED_AT,
        "reported_at": STARTED_AT,
        "model": "english",
        "audio_ms": sequence * 1000,
    }
    return UsageReport(**{**fields, **changes})


def entry(session: str = "session-0", sequence: int = 1, **changes: Any) -> Entry:
    return Entry.of(report(session, sequence, **changes))


def entries(count: int, *, session: str = "session-0", first: int = 1) -> list[Entry]:
    """The next reports of one session."""
    return [entry(session, sequence) for sequence in range(first, first + count)]


class Clock:
    """A wall clock in milliseconds that a test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def rows(folder: Path, *, name: str = "usage.sqlite3") -> list[tuple[int, bytes, str]]:
    """Every record of a journal's file: number, hash, body. The file and its log stay as they are."""
    with closing(sqlite3.connect(f"file:{folder / name}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT number, hash, CAST(body AS BLOB) FROM records ORDER BY number").fetchall()
    return [(number, hash_, body.decode()) for number, hash_, body in found]


def journal_row(folder: Path) -> tuple[str, int, int, bytes]:
    """Id, last acknowledged, last pruned and its hash."""
    with closing(sqlite3.connect(f"file:{folder / 'usage.sqlite3'}?mode=ro", uri=True)) as connection:
        row: tuple[str, int, int, bytes] = connection.execute(
            "SELECT journal_id, acknowledged, pruned, pruned_hash FROM journal"
        ).fetchone()
    return row


def chained_bodies(folder: Path) -> list[str]:
    """Bodies of all records that are held; the chain before and between them is checked by its definition."""
    journal_id, _, number, head = journal_row(folder)
    if number == 0:
        assert head == chain_start(journal_id)
    bodies = []
    for found, hash_, body in rows(folder):
        number += 1
        head = chained(head, number, body)
        assert (found, hash_) == (number, head)
        bodies.append(body)
    return bodies


def damaged(folder: Path) -> list[Path]:
    """Journals that were set aside, without their logs."""
    return sorted(path for path in folder.glob("usage.sqlite3.damaged-*") if not path.name.endswith(("-wal", "-shm")))
