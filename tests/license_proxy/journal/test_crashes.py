"""Power is cut, or the process killed, at every single write: what was acknowledged is there, and the chain goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streamstack_license_proxy.journal import recovery
from streamstack_license_proxy.journal.store import Retention, Store
from support.crash_disk import CrashDisk, anything, killed, nothing
from support.journals import NOW_MS, chained_bodies, entries, entry
from support.traced_sqlite import library

pytestmark = pytest.mark.skipif(library() is None, reason="Python's sqlite3 has its own SQLite inside")

DAY_MS = 24 * 3600 * 1000


class Load:
    """Everything a journal does in its life, from a folder without one; each fact is noted once it is acknowledged."""

    def __init__(self, disk: CrashDisk) -> None:
        self.disk = disk
        self.now_ms = NOW_MS
        self.waiting: list[str] = []

    def run(self) -> None:
        store = self.open()
        for size, session in ((1, "session-a"), (20, "session-b"), (3, "session-c")):
            self.take(store, session, size)
        self.acknowledge(store, 20)
        self.take(store, "session-d", 40)
        self.now_ms += 31 * DAY_MS
        with store.transaction():
            store.prune(self.now_ms, Retention.of_days(30), limit=1000)
        self.take(store, "session-e", 30)
        store.close()
        recovery.renew(self.disk.folder, self.now_ms, reason="test")
        store = self.open()
        self.take(store, "session-f", 10)
        self.acknowledge(store, 50)
        store.close()
        self.open().close()

    def open(self) -> Store:
        store = recovery.open_journal(self.disk.folder, self.now_ms).store
        # So often that a short load has many: every 16 pages instead of every 1,000.
        store._db.execute("PRAGMA wal_autocheckpoint = 16")
        return store

    def take(self, store: Store, session: str, size: int) -> None:
        bodies = [each.body for each in entries(size, session=session)]
        with store.transaction():
            store.take(entries(size, session=session), self.now_ms)
        self.waiting += bodies
        self.disk.note(tuple(self.waiting))

    def acknowledge(self, store: Store, through: int) -> None:
        left = store.position.head - through
        # From the moment it is asked for, the ledger has them.
        self.waiting = self.waiting[-left:]
        self.disk.note(tuple(self.waiting))
        with store.transaction():
            store.set_acknowledged(through)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> CrashDisk:
    disk = CrashDisk(tmp_path_factory.mktemp("recorded"))
    with disk.recording():
        Load(disk).run()
    return disk


@pytest.mark.parametrize("survives", [killed, nothing, *map(anything, range(3))])
def test_nothing_acknowledged_is_lost_at_any_write(
    disk: CrashDisk, tmp_path: Path, survives: Callable[[int], int]
) -> None:
    kinds = {event[0] for event in disk.events}
    assert kinds == {"change", "sync", "sync names", "name", "note"}
    for crash in range(len(disk.events) + 1):
        for left in tmp_path.iterdir():
            left.unlink()
        notes = disk.image(crash, tmp_path, survives)
        waiting: tuple[str, ...] = notes[-1] if notes else ()

        opened = recovery.open_journal(tmp_path, NOW_MS)
        assert set(waiting) <= set(chained_bodies(tmp_path)), f"lost at event {crash}: {disk.events[crash - 1][:2]}"
        with opened.store.transaction():
            assert opened.store.take([entry("session-after")], NOW_MS).new == 1
        assert chained_bodies(tmp_path)[-1] == entry("session-after").body
        opened.store.close()
