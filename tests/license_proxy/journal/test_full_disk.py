"""On a volume without space nothing is acknowledged, nothing is lost, and it goes on by itself once there is some."""

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamstack_license_proxy.journal.errors import JournalFullError
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from support.journals import Clock, chained_bodies, damaged, entries, entry

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a volume of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free; returns what takes the space."""
    path = folder / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path


async def fill_with_reports(journal: UsageJournal, *, name: str) -> list[str]:
    """Take reports until there is no space; returns those that were acknowledged."""
    taken: list[str] = []
    for number in range(10_000):
        new = entries(20, session=f"{name}-{number}")
        try:
            await journal.take(new)
        except JournalFullError:
            return taken
        taken += [each.body for each in new]
    raise AssertionError("it is never full")


async def test_a_full_disk_acknowledges_nothing_and_goes_on_once_there_is_space(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    journal = UsageJournal.open(small, now_ms=Clock())
    await journal.take(entries(5))
    ballast = fill(small)
    for _ in range(3):
        with pytest.raises(JournalFullError):
            await journal.take(entries(5, first=6))
    assert journal.full
    assert journal.position.head == 5
    assert caplog.text.count("nothing is acknowledged until there is space") == 1

    ballast.unlink()
    assert (await journal.take(entries(6, first=5))).new == 5
    assert not journal.full
    assert caplog.text.count("there is space again") == 1
    assert chained_bodies(small) == [each.body for each in entries(10)]
    await journal.close()
    assert not damaged(small)


async def test_a_disk_filled_by_the_journal_itself_empties_as_the_authority_takes_it(small: Path) -> None:
    journal = UsageJournal.open(small, now_ms=Clock())
    taken = await fill_with_reports(journal, name="first-fill")
    assert chained_bodies(small) == taken
    while (batch := await journal.next_batch()) is not None:
        # As an upload is tried again.
        with contextlib.suppress(JournalFullError):
            assert await journal.acknowledge(batch.journal_id, batch.first + len(batch.bodies) - 1)
    assert journal.backlog().records == 0

    again: list[str] = []
    while not again:
        again = await fill_with_reports(journal, name="second-fill")
    assert len(again) > 100
    assert chained_bodies(small)[-len(again) :] == again
    await journal.close()
    reopened = UsageJournal.open(small, now_ms=Clock())
    assert reopened.backlog().records == len(again)
    await reopened.close()


@pytest.mark.parametrize("killed", [True, False])
async def test_a_start_on_a_full_disk_waits_for_space_and_has_everything(small: Path, killed: bool) -> None:
    journal = UsageJournal.open(small, now_ms=Clock())
    await journal.take(entries(50))
    log, main = small / "usage.sqlite3-wal", small / "usage.sqlite3"
    as_killed = {path: path.read_bytes() for path in (main, log)}
    await journal.close()
    if killed:
        for path, content in as_killed.items():
            path.write_bytes(content)
    ballast = fill(small)

    journal = UsageJournal.open(small, now_ms=Clock())
    with pytest.raises(JournalFullError):
        await journal.take([entry(sequence=51)])
    ballast.unlink()
    new = None
    while new is None:
        try:
            new = (await journal.take([entry(sequence=51)])).new
        except JournalFullError:
            continue
    assert chained_bodies(small) == [each.body for each in entries(51)]
    await journal.close()
    assert not damaged(small)


async def test_a_first_start_on_a_full_disk_leaves_nothing_half_made(small: Path) -> None:
    ballast = fill(small)
    try:
        journal = UsageJournal.open(small, now_ms=Clock())
    except JournalFullError:
        # Not even the lock could be made.
        ballast.unlink()
        journal = UsageJournal.open(small, now_ms=Clock())
    else:
        with pytest.raises(JournalFullError):
            _ = journal.position
        with pytest.raises(JournalFullError):
            await journal.take(entries(1))
        assert journal.full
        ballast.unlink()
    taken = None
    while taken is None:
        try:
            taken = await journal.take(entries(1))
        except JournalFullError:
            continue
    assert {path.name for path in small.iterdir()} - {"usage.sqlite3-wal", "usage.sqlite3-shm"} == {
        "usage.lock",
        "usage.sqlite3",
        f"usage-{journal.position.journal_id}.key",
    }
    await journal.close()


async def test_a_damaged_journal_on_a_full_disk_is_kept_until_it_can_be_replaced(small: Path) -> None:
    journal = UsageJournal.open(small, now_ms=Clock())
    await journal.take(entries(100))
    await journal.close()
    content = bytearray((small / "usage.sqlite3").read_bytes())
    content[content.rindex(entry(sequence=50).body.encode()) + 60] ^= 1
    (small / "usage.sqlite3").write_bytes(content)
    ballast = fill(small)

    journal = UsageJournal.open(small, now_ms=Clock())
    with pytest.raises(JournalFullError):
        await journal.take([entry(sequence=101)])
    assert not damaged(small)
    ballast.unlink()
    taken = None
    while taken is None:
        try:
            taken = await journal.take([entry(sequence=101)])
        except JournalFullError:
            continue
    assert len(damaged(small)) == journal.counts.damaged == 1
    assert chained_bodies(small) == [each.body for each in entries(101) if each.sequence != 50]
    await journal.close()
