"""A journal of an older version is upgraded and keeps everything; one of a newer version is left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streamstack_common.usage import chain_start, chained
from streamstack_license_proxy.journal import recovery
from streamstack_license_proxy.journal.errors import JournalUnusableError
from streamstack_license_proxy.journal.records import Position, seal
from streamstack_license_proxy.journal.schema import APPLICATION_ID, STEPS, migrate, version_of
from streamstack_license_proxy.journal.signing_key import make_key
from support.journals import NOW_MS, chained_bodies, damaged, entries, entry

FIXTURES = Path(__file__).parents[2] / "fixtures" / "usage_journal"


def older_journal(folder: Path, version: int) -> list[str]:
    """Make a journal as that version did, from its own statements; returns the bodies."""
    journal_id, _ = make_key(folder)
    bodies = [each.body for each in entries(30)]
    with closing(sqlite3.connect(folder / "usage.sqlite3")) as old, old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript((FIXTURES / f"v{version}.sql").read_text())
        start = Position.start(journal_id)
        row = (1, journal_id, 0, 0, start.pruned_hash, start.seal())
        old.execute(
            "INSERT INTO journal (only, journal_id, acknowledged, pruned, pruned_hash, seal) VALUES (?,?,?,?,?,?)", row
        )
        head = chain_start(journal_id)
        for number, each in enumerate(entries(30), 1):
            head = chained(head, number, each.body)
            old.execute(
                "INSERT INTO records (number, taken_ms, hash, body) VALUES (?,?,?,?)", (number, NOW_MS, head, each.body)
            )
        last = entry(sequence=30)
        sealed = seal(last.session_id, 30, last.digest().hex(), 0)
        old.execute(
            "INSERT INTO sessions (session_id, sequence, digest, ended, seen_ms, seal) VALUES (?,?,?,0,?,?)",
            (last.session_id, 30, last.digest(), NOW_MS, sealed),
        )
    return bodies


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
def test_every_released_version_is_opened_with_everything_in_it(tmp_path: Path, version: int) -> None:
    bodies = older_journal(tmp_path, version)
    opened = recovery.open_journal(tmp_path, NOW_MS)
    assert (opened.damaged, opened.store.position.head) == (0, 30)
    with opened.store.transaction():
        assert opened.store.take(entries(31), NOW_MS).new == 1
    opened.store.close()
    assert chained_bodies(tmp_path) == [*bodies, entry(sequence=31).body]
    with closing(sqlite3.connect(tmp_path / "usage.sqlite3")) as connection:
        assert version_of(connection) == len(STEPS)
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_a_released_version_is_never_changed() -> None:
    def tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
        return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()

    with closing(sqlite3.connect(":memory:")) as made, closing(sqlite3.connect(":memory:")) as released:
        made.isolation_level = released.isolation_level = None
        migrate(made, STEPS[:1])
        released.executescript((FIXTURES / "v1.sql").read_text())
        assert tables(made) == tables(released)


def test_steps_that_are_missing_are_taken_all_or_none() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        broken = ("ALTER TABLE records ADD COLUMN note TEXT", "no statement")
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, (*STEPS, broken))
        assert version_of(connection) == len(STEPS)
        assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(records)")]
        migrate(connection, (*STEPS, broken[:1]))
        assert version_of(connection) == len(STEPS) + 1
        assert "note" in [row[1] for row in connection.execute("PRAGMA table_info(records)")]


def test_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    older_journal(tmp_path, 1)
    with closing(sqlite3.connect(tmp_path / "usage.sqlite3")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / "usage.sqlite3").read_bytes()
    with pytest.raises(JournalUnusableError, match="version 99; this license proxy knows up to 1"):
        recovery.open_journal(tmp_path, NOW_MS)
    assert (tmp_path / "usage.sqlite3").read_bytes() == before
    assert damaged(tmp_path) == []


def test_another_database_of_that_name_is_set_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "usage.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE something (else_)")
    opened = recovery.open_journal(tmp_path, NOW_MS)
    assert opened.damaged == len(damaged(tmp_path)) == 1
    opened.store.close()
