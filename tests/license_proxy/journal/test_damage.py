"""A damaged journal is set aside and replaced; everything that can still be read is taken again."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from streamstack_license_proxy.journal import recovery
from streamstack_license_proxy.journal.errors import JournalDamagedError
from streamstack_license_proxy.journal.files import KEPT_DAMAGED
from streamstack_license_proxy.journal.reader import Reader
from streamstack_license_proxy.journal.recovery import Opened
from streamstack_license_proxy.journal.store import Store
from support.journals import NOW_MS, chained_bodies, damaged, entries, entry

NAME = "usage.sqlite3"
VERSION_BYTES = range(60, 64)
"""``user_version`` in the file's header: a journal of a newer version is refused, not replaced."""


def take(store: Store, size: int, *, session: str = "session-0", first: int = 1) -> list[str]:
    new = entries(size, session=session, first=first)
    with store.transaction():
        store.take(new, NOW_MS)
    return [each.body for each in new]


def acknowledge(store: Store, through: int) -> None:
    with store.transaction():
        store.set_acknowledged(through)


def opened(folder: Path) -> Opened:
    return recovery.open_journal(folder, NOW_MS)


def closed_journal(folder: Path, size: int = 300, *, acknowledged: int = 0) -> list[str]:
    """A journal with records, everything in its main file; returns the bodies."""
    store = opened(folder).store
    bodies = take(store, size)
    acknowledge(store, acknowledged)
    store.close()
    return bodies


def journal_as_killed(folder: Path, sizes: tuple[int, ...]) -> list[list[str]]:
    """A journal with its log, as a killed process leaves it; returns the bodies of each transaction."""
    (folder / "alive").mkdir()
    store = opened(folder / "alive").store
    bodies = [take(store, size, session=f"session-{index}") for index, size in enumerate(sizes)]
    for path in (folder / "alive").iterdir():
        if not path.name.endswith("-shm"):
            shutil.copy(path, folder)
    store.close()
    shutil.rmtree(folder / "alive")
    return bodies


def offset_of(path: Path, text: str) -> int:
    offset = path.read_bytes().rindex(text.encode())
    assert offset > 0
    return offset


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x01
    path.write_bytes(content)


def goes_on(journal: Opened, folder: Path) -> None:
    """It takes reports, uploads them and can be opened again without a complaint."""
    new = entry("session-after")
    with journal.store.transaction():
        assert journal.store.take([new], NOW_MS).new == 1
    reader = Reader(folder)
    assert reader.batch(None, max_records=500, max_bytes=10**6).bodies
    reader.close()
    journal.store.close()
    again = opened(folder)
    assert again.damaged == 0
    assert chained_bodies(folder)[-1] == new.body
    again.store.close()


def test_a_changed_body_is_left_out_and_the_rest_is_taken_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = closed_journal(tmp_path, 50, acknowledged=10)
    flip(tmp_path / NAME, offset_of(tmp_path / NAME, bodies[30]) + 50)
    before = (tmp_path / NAME).read_bytes()
    journal = opened(tmp_path)
    assert journal.damaged == 1
    assert chained_bodies(tmp_path) == bodies[10:30] + bodies[31:]
    (aside,) = damaged(tmp_path)
    assert aside.read_bytes() == before
    assert "record 31 or the one before was changed" in caplog.text
    assert "39 records taken again, 1 lost" in caplog.text
    assert bodies[0] not in caplog.text
    goes_on(journal, tmp_path)


def test_what_the_authority_has_is_not_looked_at_when_a_journal_is_opened(tmp_path: Path) -> None:
    bodies = closed_journal(tmp_path, 50, acknowledged=40)
    flip(tmp_path / NAME, offset_of(tmp_path / NAME, bodies[5]) + 50)
    journal = opened(tmp_path)
    assert journal.damaged == 0
    assert take(journal.store, 1, session="session-after")
    reader = Reader(tmp_path)
    assert reader.batch(None, max_records=500, max_bytes=10**6).bodies[:-1] == bodies[40:]
    with pytest.raises(JournalDamagedError, match="record 6 was changed"):
        reader.batch(1, max_records=500, max_bytes=10**6)
    reader.close()
    journal.store.close()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_main_file_cut_short_is_replaced(tmp_path: Path, share: float) -> None:
    bodies = closed_journal(tmp_path)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[: int(len(content) * share)])
    journal = opened(tmp_path)
    assert journal.damaged == 1
    kept = chained_bodies(tmp_path)
    assert kept == [body for body in bodies if body in kept]
    assert len(kept) >= len(bodies) * (share - 0.2)
    goes_on(journal, tmp_path)


@pytest.mark.parametrize("seed", range(40))
def test_any_flipped_bytes_leave_a_journal_that_works_and_lose_only_what_they_hit(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    bodies = closed_journal(tmp_path)
    places = set(range((tmp_path / NAME).stat().st_size)) - set(VERSION_BYTES)
    for offset in chance.sample(sorted(places), chance.choice([1, 1, 2, 20])):
        flip(tmp_path / NAME, offset)
    journal = opened(tmp_path)
    kept = chained_bodies(tmp_path)
    assert kept == [body for body in bodies if body in kept]
    assert journal.damaged or kept == bodies
    goes_on(journal, tmp_path)


def test_pages_that_cannot_be_read_are_stepped_over(tmp_path: Path) -> None:
    bodies = closed_journal(tmp_path, 600)
    path = tmp_path / NAME
    content = bytearray(path.read_bytes())
    page = offset_of(path, bodies[300]) // 4096
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    journal = opened(tmp_path)
    kept = chained_bodies(tmp_path)
    assert bodies[300] not in kept
    # A page holds a dozen records; the one behind it has nothing that vouches for it.
    assert len(kept) >= len(bodies) - 20
    assert {bodies[0], bodies[-1]} <= set(kept)
    goes_on(journal, tmp_path)


def test_a_file_that_is_something_else_is_set_aside(tmp_path: Path) -> None:
    closed_journal(tmp_path)
    (tmp_path / NAME).write_bytes(b"no database at all" * 1000)
    journal = opened(tmp_path)
    assert journal.damaged == 1
    assert damaged(tmp_path)[0].read_bytes().startswith(b"no database")
    goes_on(journal, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_a_journal_without_its_key_goes_on_under_another_name(tmp_path: Path, content: bytes | None) -> None:
    bodies = closed_journal(tmp_path, 20)
    (key,) = tmp_path.glob("usage-*.key")
    key.unlink() if content is None else key.write_bytes(content)
    journal = opened(tmp_path)
    assert chained_bodies(tmp_path) == bodies
    assert [path.name for path in tmp_path.glob("usage-*.key")] != [key.name]
    goes_on(journal, tmp_path)


@pytest.mark.parametrize("column", ["acknowledged", "pruned", "journal_id"])
def test_a_journal_that_was_told_something_else_is_not_believed(tmp_path: Path, column: str) -> None:
    bodies = closed_journal(tmp_path, 20)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"UPDATE journal SET {column} = 7")  # noqa: S608 - a name from above
    connection.close()
    journal = opened(tmp_path)
    assert journal.damaged == 1
    # Nothing says where its chain began: the first record has nothing that vouches for it.
    assert chained_bodies(tmp_path) == bodies[1:]
    goes_on(journal, tmp_path)


def test_a_session_that_is_not_what_was_written_is_noticed_when_it_counts(tmp_path: Path) -> None:
    closed_journal(tmp_path, 20)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("UPDATE sessions SET sequence = 1000")
    connection.close()
    journal = opened(tmp_path)
    with pytest.raises(JournalDamagedError), journal.store.transaction():
        journal.store.take([entry(sequence=21)], NOW_MS)
    journal.store.close()


def test_a_torn_last_transaction_of_the_log_never_happened(tmp_path: Path) -> None:
    bodies = journal_as_killed(tmp_path, (5, 30, 40))
    log = tmp_path / f"{NAME}-wal"
    flip(log, offset_of(log, bodies[2][-1]))
    journal = opened(tmp_path)
    assert journal.damaged == 0
    assert chained_bodies(tmp_path) == bodies[0] + bodies[1]
    goes_on(journal, tmp_path)


def test_a_log_cut_short_is_taken_up_to_its_last_whole_transaction(tmp_path: Path) -> None:
    bodies = journal_as_killed(tmp_path, (5, 30, 40))
    log = tmp_path / f"{NAME}-wal"
    log.write_bytes(log.read_bytes()[:-5000])
    journal = opened(tmp_path)
    assert chained_bodies(tmp_path) == bodies[0] + bodies[1]
    goes_on(journal, tmp_path)


def test_a_log_changed_before_its_end_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bodies = journal_as_killed(tmp_path, (5, 30, 40, 50))
    log = tmp_path / f"{NAME}-wal"
    flip(log, offset_of(log, bodies[1][0]))
    journal = opened(tmp_path)
    assert journal.damaged == 1
    assert "transactions cannot be read" in caplog.text
    assert chained_bodies(tmp_path)[:5] == bodies[0]
    assert Path(f"{damaged(tmp_path)[0]}-wal").exists()
    goes_on(journal, tmp_path)


def test_a_log_without_its_head_is_noticed(tmp_path: Path) -> None:
    journal_as_killed(tmp_path, (5, 30, 40))
    flip(tmp_path / f"{NAME}-wal", 17)
    journal = opened(tmp_path)
    assert journal.damaged == 1
    goes_on(journal, tmp_path)


def test_so_many_damaged_journals_are_kept_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(tmp_path).store.close()
    for _ in range(KEPT_DAMAGED + 2):
        (tmp_path / NAME).write_bytes(b"damaged")
        opened(tmp_path).store.close()
    assert len(damaged(tmp_path)) == KEPT_DAMAGED
    assert "is removed: more than 10 were set aside" in caplog.text
