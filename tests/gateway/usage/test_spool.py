import logging
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstack_common.usage import UsageReport
from streamstack_gateway.usage.spool import FORMAT, Spool, SpoolError, SpoolLostError
from support.usage_sink import spooled

WALL = datetime(2026, 1, 1, 12, tzinfo=UTC)


def report(session_id: str, sequence: int = 1, audio_ms: int = 0, outcome: str | None = None) -> UsageReport:
    return UsageReport(
        session_id=session_id,
        sequence=sequence,
        started_at=WALL,
        reported_at=WALL,
        model="english",
        audio_ms=audio_ms,
        features=("keyterms", "partials"),
        outcome=outcome,
    )


def opened(path: Path) -> Spool:
    spool = Spool(path)
    spool.open()
    return spool


def aside(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".damaged-" in path.name]


def test_what_is_written_is_found_by_the_next_process_even_if_this_one_never_closes(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    reports = {report("session-a", 3, 9000), report("session-b", 1, 0, "terminated")}
    spool.write(reports)
    assert spooled(path) == reports
    spool.close()
    assert spooled(path) == reports


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_its_files_are_this_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report("session-a")])
    assert modes(tmp_path) == dict.fromkeys(("usage.sqlite3", "usage.sqlite3-wal", "usage.sqlite3-shm"), 0o600)
    spool.close()


def test_a_file_that_others_may_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report("session-a")])
    spool.close()
    path.chmod(0o644)
    again = Spool(path)
    assert again.open() == [report("session-a")]
    again.close()


def test_a_session_has_one_row_and_an_older_report_never_replaces_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    for sequence in (2, 5, 4):
        spool.write([report("session-a", sequence, sequence * 100)])
    assert spooled(path) == {report("session-a", 5, 500)}
    spool.close()


def test_a_newer_report_survives_the_deletion_of_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report("session-a", 5), report("session-b", 2)])
    spool.delete({"session-a": 4, "session-b": 2, "session-c": 9})
    assert spooled(path) == {report("session-a", 5)}
    spool.close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 50, b"\0" * 5000])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    path = tmp_path / "usage.sqlite3"
    path.write_bytes(content)
    spool = Spool(path)
    assert spool.open() == []
    assert "is set aside as usage.sqlite3.damaged-" in caplog.text
    assert [(tmp_path / name).read_bytes() for name in aside(tmp_path)] == [content]
    spool.write([report("session-a")])
    assert spooled(path) == {report("session-a")}
    spool.close()


def test_a_file_of_a_later_format_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "usage.sqlite3"
    opened(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    opened(path).close()
    assert f"its format is {FORMAT + 1}, expected {FORMAT}" in caplog.text
    assert aside(tmp_path)


def test_damage_while_it_is_in_use_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report(f"session-{number:04}") for number in range(400)])
    spool.close()
    spool.open()
    assert spool._database is not None
    spool._database.execute("PRAGMA shrink_memory")  # what it has read of the file before
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(SpoolLostError):
        spool.write([report(f"session-{number:04}", 2) for number in range(400)])
    assert not spool.is_open
    assert spool.open() == []
    spool.write([report("session-a")])
    assert spooled(path) == {report("session-a")}
    spool.close()


def test_a_row_that_is_no_report_stays_where_it_is_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report("session-a")])
    spool.close()
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO report VALUES ('session-b', 1, '{}')")
    database.close()
    assert spooled(path) == {report("session-a")}
    assert spooled(path) == {report("session-a")}
    assert "the report of session session-b cannot be read" in caplog.text


def test_a_folder_that_is_not_there_is_a_spool_error_and_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "usage.sqlite3"
    spool = Spool(path)
    with pytest.raises(SpoolError, match="No such file or directory"):
        spool.open()
    with pytest.raises(SpoolError, match="not open"):
        spool.write([report("session-a")])
    path.parent.mkdir()
    assert spool.open() == []
    spool.close()


def test_a_full_disk_is_a_spool_error_that_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    spool = opened(path)
    spool.write([report("session-a")])
    assert spool._database is not None
    (pages,) = spool._database.execute("PRAGMA page_count").fetchone()
    spool._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolError, match="full"):
        spool.write([report(f"session-{number:04}") for number in range(400)])
    assert spooled(path) == {report("session-a")}
    spool._database.execute("PRAGMA max_page_count = 100000")
    spool.write([report("session-b")])
    assert spooled(path) == {report("session-a"), report("session-b")}
    spool.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(content=st.binary(max_size=300), kept_bytes=st.integers(0, 20_000), at=st.integers(0, 20_000))
def test_no_damage_of_the_file_keeps_a_gateway_from_starting(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kept_bytes: int, at: int
) -> None:
    logging.getLogger("streamstack_gateway.usage.spool").setLevel(logging.CRITICAL)
    path = tmp_path_factory.mktemp("spool") / "usage.sqlite3"
    spool = opened(path)
    spool.write([report(f"session-{number:02}", 1, number) for number in range(40)])
    spool.close()
    whole = path.read_bytes()
    path.write_bytes((whole[:at] + content + whole[at + len(content) :])[:kept_bytes])
    spool = Spool(path)
    try:
        found = spool.open()
        spool.write([report("session-x")])
    except SpoolLostError:
        found = spool.open()
    finally:
        spool.close()
    logging.getLogger("streamstack_gateway.usage.spool").setLevel(logging.NOTSET)
    assert len(found) <= 41
