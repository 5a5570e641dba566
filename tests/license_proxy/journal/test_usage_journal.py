import asyncio
import gzip
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from streamstack_common.authority import MAX_RECORDS, MAX_UPLOAD_BYTES, Upload
from streamstack_common.usage_export import bounded_lines, journal_id_of, read_export
from streamstack_license_proxy.journal import writer
from streamstack_license_proxy.journal.errors import (
    JournalClosedError,
    JournalLockedError,
    JournalMovedOnError,
    JournalOverloadedError,
    JournalUnusableError,
)
from streamstack_license_proxy.journal.signing_key import make_key, read_key
from streamstack_license_proxy.journal.store import Store
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from support.journals import Clock, chained_bodies, damaged, entries, entry, rows

DAY_MS = 24 * 3600 * 1000


@asynccontextmanager
async def journal_in(folder: Path, *, clock: Clock | None = None, days: float = 30) -> AsyncIterator[UsageJournal]:
    journal = UsageJournal.open(folder, retention_days=days, now_ms=clock or Clock())
    try:
        yield journal
    finally:
        await journal.close()


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have transactions wait, as for a slow disk, until the event is set."""
    go_on, take = threading.Event(), Store.take

    def slow(store: Store, *arguments: object) -> object:
        assert go_on.wait(20)
        return take(store, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "take", slow)
    try:
        yield go_on
    finally:
        go_on.set()


async def test_what_is_taken_is_on_disk_and_there_after_a_restart(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        taken = await journal.take(entries(3))
        assert (taken.reasons, taken.new) == ((None, None, None), 3)
        assert chained_bodies(tmp_path) == [each.body for each in entries(3)]
        before = journal.position
    async with journal_in(tmp_path) as journal:
        assert journal.position == before
        await journal.take(entries(1, first=4))
    assert chained_bodies(tmp_path) == [each.body for each in entries(4)]


async def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take(entries(1))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert f"usage-{journal.position.journal_id}.key" in modes


async def test_the_same_report_sent_a_thousand_times_is_one_record(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        taken = await asyncio.gather(*(journal.take([entry(sequence=3)] * 20) for _ in range(50)))
        assert sum(each.new for each in taken) == 1
        assert {reason for each in taken for reason in each.reasons} == {None}
        assert (await journal.take([entry(sequence=2)])).new == 0
        assert journal.counts.records == 1
    assert len(rows(tmp_path)) == 1


async def test_another_report_with_the_same_sequence_is_rejected_with_the_reason(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take([entry(sequence=2)])
        taken = await journal.take([entry(sequence=2, audio_ms=1), entry("session-1")])
        assert taken.reasons == ("sequence 2: another report of this session has it; expected a higher one", None)
        assert taken.new == 1


async def test_reports_that_arrive_during_a_sync_share_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_in(tmp_path) as journal:
        with held_up(monkeypatch) as go_on:
            waiting = [asyncio.create_task(journal.take([entry(f"session-{number}")])) for number in range(200)]
            await asyncio.sleep(0)
            go_on.set()
            await asyncio.gather(*waiting)
        assert journal.counts.records == 200
        assert journal.counts.commits <= 3


async def test_nothing_is_acknowledged_before_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal_in(tmp_path) as journal:
        with held_up(monkeypatch) as go_on:
            waiting = asyncio.create_task(journal.take([entry()]))
            await asyncio.sleep(0)
            assert rows(tmp_path) == []
            assert not waiting.done()
            go_on.set()
            await waiting
        assert len(rows(tmp_path)) == 1


async def test_too_much_that_waits_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    async with journal_in(tmp_path) as journal:
        with held_up(monkeypatch) as go_on:
            first = asyncio.create_task(journal.take(entries(8)))
            await asyncio.sleep(0)
            second = asyncio.create_task(journal.take(entries(8, session="session-1")))
            await asyncio.sleep(0)
            third = asyncio.create_task(journal.take(entries(8, session="session-2")))
            await asyncio.sleep(0)
            go_on.set()
            done = await asyncio.gather(first, second, third, return_exceptions=True)
        assert any(isinstance(each, JournalOverloadedError) for each in done)
        assert not isinstance(done[0], Exception)
        assert (await journal.take(entries(8, session="session-2"))).new == 8


async def test_a_caller_who_went_away_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal_in(tmp_path) as journal:
        with held_up(monkeypatch) as go_on:
            gone, stays = (asyncio.create_task(journal.take([entry(f"session-{number}")])) for number in range(2))
            await asyncio.sleep(0)
            gone.cancel()
            go_on.set()
            assert (await stays).new == 1
        assert journal.counts.records == 2


async def test_batches_are_what_an_upload_wants(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        assert await journal.next_batch() is None
        await journal.take(entries(700))
        first = await journal.next_batch()
        assert first is not None
        assert (first.first, len(first.bodies)) == (1, MAX_RECORDS)
        assert await journal.acknowledge(first.journal_id, MAX_RECORDS)
        second = await journal.next_batch()
        assert second is not None
        assert (second.first, len(second.bodies), second.after) == (501, 200, first.head)
        assert second.head == journal.position.head_hash
        assert await journal.acknowledge(first.journal_id, 700)
        assert await journal.next_batch() is None


async def test_the_longest_reports_still_fit_into_an_upload(tmp_path: Path) -> None:
    text = '"\\é𝄞\x00' * 25
    features = tuple("f" + "x" * 39 for _ in range(16))
    longest = {"model": text, "tenant": text, "outcome": text, "features": features, "audio_ms": 2**40}
    new = [entry(f"{number:064d}", 2**31, **longest) for number in range(MAX_RECORDS)]
    assert max(len(each.body) for each in new) <= 4096
    async with journal_in(tmp_path) as journal:
        await journal.take(new)
        batch = await journal.next_batch()
        assert batch is not None
        upload = Upload(first=1, after=batch.after.hex(), head=batch.head.hex(), records=tuple(batch.bodies))
        assert MAX_UPLOAD_BYTES * 0.8 < len(upload.model_dump_json().encode()) <= MAX_UPLOAD_BYTES


async def test_reads_do_not_wait_for_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take(entries(5))
        with held_up(monkeypatch):
            waiting = asyncio.create_task(journal.take(entries(5, session="session-1")))
            await asyncio.sleep(0)
            batch = await journal.next_batch()
            assert batch is not None
            assert len(batch.bodies) == 5
            assert journal.backlog().records == 5
            assert await journal.export(license="a.b.c", first=None, limit=10)
            assert not waiting.done()
        await waiting


async def test_the_backlog_is_what_the_authority_does_not_have_and_as_old_as_its_oldest(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_in(tmp_path, clock=clock) as journal:
        assert journal.backlog().oldest_seconds is None
        await journal.take(entries(2))
        clock.now_ms += 5_000
        await journal.take(entries(2, first=3))
        backlog = journal.backlog()
        assert (backlog.journal_id, backlog.records, backlog.oldest_seconds) == (journal.position.journal_id, 4, 5.0)
        await journal.acknowledge(journal.position.journal_id, 2)
        clock.now_ms += 1_000
        assert (journal.backlog().records, journal.backlog().oldest_seconds) == (2, 1.0)
        clock.now_ms -= 60_000
        assert journal.backlog().oldest_seconds == 0.0


async def test_answers_for_another_journal_or_for_records_that_are_not_there_change_nothing(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take(entries(3))
        own = journal.position.journal_id
        assert not await journal.acknowledge("0" * 32, 2)
        assert not await journal.acknowledge(own, 4)
        assert not await journal.set_acknowledged(own, 4)
        assert await journal.acknowledge(own, 2)
        assert await journal.acknowledge(own, 1)
        assert journal.position.acknowledged == 2
        assert await journal.set_acknowledged(own, 1)
        assert journal.position.acknowledged == 1


async def test_what_the_ledger_has_is_kept_for_its_time_and_then_forgotten_between_reports(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_in(tmp_path, clock=clock) as journal:
        await journal.take(entries(1200))
        await journal.acknowledge(journal.position.journal_id, 1000)
    clock.now_ms += 29 * DAY_MS
    async with journal_in(tmp_path, clock=clock) as journal:
        await journal.take([entry("session-1")])
        assert journal.position.pruned == 0
    clock.now_ms += 2 * DAY_MS
    async with journal_in(tmp_path, clock=clock) as journal:
        for sequence in range(2, 6):
            await journal.take([entry("session-1", sequence)])
        assert journal.position.pruned == journal.counts.pruned == 1000
        assert len(chained_bodies(tmp_path)) == 205


async def test_renewing_takes_over_what_the_ledger_does_not_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with journal_in(tmp_path, clock=clock) as journal:
        await journal.take(entries(10))
        old = journal.position.journal_id
        await journal.acknowledge(old, 4)
        clock.now_ms += 7000
        await journal.renew(old, "the authority knows another record 5")
        assert journal.position.journal_id != old
        assert chained_bodies(tmp_path) == [each.body for each in entries(6, first=5)]
        assert journal.backlog().oldest_seconds == 7.0
        assert journal.counts.damaged == len(damaged(tmp_path)) == 1
        assert "the authority knows another record 5" in caplog.text
        renewed = journal.position.journal_id
        await journal.renew(old, "asked too late")
        assert journal.position.journal_id == renewed
        batch = await journal.next_batch()
        assert batch is not None
        assert (batch.journal_id, batch.first, len(batch.bodies)) == (renewed, 1, 6)
        await journal.take(entries(1, first=11))


async def test_damage_that_is_found_while_it_runs_is_repaired_without_losing_the_report(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take([*entries(3), entry("session-1")])
        with sqlite3.connect(tmp_path / "usage.sqlite3") as other:
            other.execute("UPDATE sessions SET sequence = 1000")
        other.close()
        assert (await journal.take(entries(1, first=4))).new == 1
        assert journal.counts.damaged == 1
        assert chained_bodies(tmp_path) == [each.body for each in (*entries(3), entry("session-1"), entry(sequence=4))]


async def test_a_record_that_turns_out_to_be_damaged_does_not_stop_uploads(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take(entries(5))
        with sqlite3.connect(tmp_path / "usage.sqlite3") as other:
            other.execute("UPDATE records SET body = 'x' WHERE number = 3")
        other.close()
        assert await journal.next_batch() is None
        batch = await journal.next_batch()
        assert batch is not None
        assert list(batch.bodies) == [each.body for each in entries(5) if each.sequence != 3]


async def test_exports_are_signed_pages_of_the_chain(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await journal.take(entries(2500))
        await journal.acknowledge(journal.position.journal_id, 100)

        async def export(first: int | None, limit: int) -> tuple[int, int]:
            packed = await journal.export(license="a.b.c", first=first, limit=limit)
            content = gzip.decompress(packed)
            read = read_export(bounded_lines(io.BytesIO(content)))
            assert (read.journal_id, read.license) == (journal.position.journal_id, "a.b.c")
            assert list(read.bodies) == [each.body for each in entries(len(read.bodies), first=read.first)]
            assert json.loads(content.splitlines()[0])["exported_at"] == "2027-01-15T08:00:00.000000Z"
            return read.first, len(read.bodies)

        assert await export(None, 50_000) == (101, 2400)
        assert await export(1, 1) == (1, 1)
        assert await export(50, 1500) == (50, 1500)
        assert await export(2501, 10) == (2501, 0)
        with pytest.raises(JournalMovedOnError, match="record 2502"):
            await export(2502, 10)


async def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    async with journal_in(tmp_path):
        with pytest.raises(JournalLockedError, match=r"usage\.lock: another license proxy has this journal"):
            UsageJournal.open(tmp_path)
        attempt = "import sys, pathlib; from streamstack_license_proxy.journal.usage_journal import UsageJournal as J;"
        attempt += "J.open(pathlib.Path(sys.argv[1]))"
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", attempt, str(tmp_path), stderr=subprocess.PIPE
        )
        _, complaint = await other.communicate()
        assert other.returncode == 1
        assert "JournalLockedError" in complaint.decode()
    async with journal_in(tmp_path):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")
async def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", tmp_path / "state"], check=True)
    try:
        with pytest.raises(JournalUnusableError, match="Read-only file system: expected a folder on a volume"):
            UsageJournal.open(tmp_path / "state")
    finally:
        subprocess.run(["umount", tmp_path / "state"], check=True)
    with pytest.raises(JournalUnusableError, match="No such file or directory"):
        UsageJournal.open(tmp_path / "absent")


async def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = UsageJournal.open(tmp_path)
    await journal.close()
    with pytest.raises(JournalClosedError):
        await journal.take(entries(1))


async def test_what_breaks_the_thread_is_not_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = UsageJournal.open(tmp_path)

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Store, "take", broken)
    with pytest.raises(JournalClosedError):
        await journal.take(entries(1))
    with pytest.raises(ZeroDivisionError):
        await journal.run()
    with pytest.raises(ZeroDivisionError):
        await journal.close()


async def test_any_mix_of_callers_ends_with_the_highest_of_each_session(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    sessions = [f"session-{number}" for number in range(20)]

    async def gateway(journal: UsageJournal) -> None:
        for _ in range(15):
            await journal.take([entry(chance.choice(sessions), chance.randint(1, 30)) for _ in range(5)])
            if chance.random() < 0.2:
                await journal.renew(journal.position.journal_id, "test")

    async with journal_in(tmp_path) as journal:
        await asyncio.gather(*(gateway(journal) for _ in range(8)))
        await journal.take([entry(session, 31) for session in sessions])
    last = {json.loads(body)["session_id"]: json.loads(body)["sequence"] for body in chained_bodies(tmp_path)}
    assert last == dict.fromkeys(sessions, 31)


def test_the_journal_is_named_by_its_key(tmp_path: Path) -> None:
    journal_id, key = make_key(tmp_path)
    assert journal_id == journal_id_of(key.public_key())
    assert read_key(tmp_path, journal_id).private_bytes_raw() == key.private_bytes_raw()
