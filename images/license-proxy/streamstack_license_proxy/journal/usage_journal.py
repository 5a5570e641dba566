"""The usage journal of one license proxy: durable, append-only, in its own folder. For asyncio."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.authority import MAX_RECORDS, MAX_UPLOAD_BYTES
from streamstack_common.usage import UsageBacklog
from streamstack_license_proxy.journal import files
from streamstack_license_proxy.journal.errors import JournalDamagedError, JournalFullError
from streamstack_license_proxy.journal.exports import packed_export
from streamstack_license_proxy.journal.jobs import Job
from streamstack_license_proxy.journal.reader import Reader
from streamstack_license_proxy.journal.records import Batch, Entry, Position
from streamstack_license_proxy.journal.store import Retention, Store, Taken
from streamstack_license_proxy.journal.writer import Counts, Writer

log = logging.getLogger(__name__)

AROUND_RECORDS_BYTES: Final = 1024
"""What an upload has beside its records."""

Result = TypeVar("Result")


def wall_clock_ms() -> int:
    """Return the wall clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class UsageJournal:
    """An open journal, the only one of its folder; see :meth:`open`.

    Everything that changes it is on disk when it returns. A file that turns out to be damaged is set aside meanwhile,
    and a new journal, with another name, goes on with everything that could be saved.
    """

    def __init__(self, folder: Path, lock: files.FolderLock, writer: Writer, reader: Reader, now_ms: Callable[[], int]):
        self._folder = folder
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._now_ms = now_ms
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="journal-writer")
        self._running: Future[None] = self._writing.submit(writer.run)
        self._moved = asyncio.Event()

    @classmethod
    def open(cls, folder: Path, *, retention_days: float = 30.0, now_ms: Callable[[], int] = wall_clock_ms) -> Self:
        """Open the journal of a folder, make one where there is none, replace a damaged one.

        Blocks, for seconds where a million records wait for the authority. A full disk is no error here: everything
        answers JournalFullError until there is space.

        Args:
            folder: on a volume of this proxy's own.
            retention_days: how long records are kept that are in the authority's ledger.
            now_ms: the wall clock, milliseconds since 1970.

        Raises:
            JournalLockedError: another process has it.
            JournalUnusableError: the folder cannot be written, or the file is of a newer version.
            JournalError: reading or writing fails.

        """
        try:
            lock = files.FolderLock(folder)
        except OSError as error:
            raise files.typed_os_error(error, folder) from error
        reader = Reader(folder)
        writer = Writer(folder, reader, retention=Retention.of_days(retention_days), now_ms=now_ms)
        try:
            writer.open()
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, writer, reader, now_ms)

    @property
    def position(self) -> Position:
        """Where the journal stands, as of the last commit.

        Raises:
            JournalFullError: the disk was full at the start and still is: nobody knows.

        """
        position = self._writer.position
        if position is None:
            raise JournalFullError(f"usage journal in {self._folder}: the disk is full")
        return position

    @property
    def counts(self) -> Counts:
        """What happened since the process began."""
        return self._writer.counts

    @property
    def full(self) -> bool:
        """Whether the last thing that was to be written found no space."""
        return self._writer.full

    def bytes_on_disk(self) -> int:
        """Return the size of the journal's files."""
        return files.bytes_on_disk(self._folder)

    def backlog(self) -> UsageBacklog:
        """Return what the authority does not have. Raises JournalFullError as :attr:`position`."""
        position = self.position
        age = None if position.oldest_ms is None else max(0.0, (self._now_ms() - position.oldest_ms) / 1000)
        return UsageBacklog(journal_id=position.journal_id, records=position.unacknowledged, oldest_seconds=age)

    async def until(self, holds: Callable[[Position], bool]) -> None:
        """Return when ``holds`` is true of where the journal stands; asked after every change."""
        while (position := self._writer.position) is None or not holds(position):
            moved = self._moved
            await moved.wait()

    async def run(self) -> None:
        """Return when the journal is closed; raises what ended it otherwise, which nothing may survive."""
        await asyncio.shield(asyncio.wrap_future(self._running))

    async def take(self, entries: Sequence[Entry]) -> Taken:
        """Take reports; they are on disk when this returns, but for those with a reason.

        Raises:
            JournalFullError: the disk is full. Nothing is acknowledged; so with every error.
            JournalOverloadedError: too many wait already.
            JournalError: it cannot be written.

        """
        return await self._done(lambda store: store.take(entries, self._now_ms()), weight=len(entries))

    async def next_batch(self) -> Batch | None:
        """Return the next records to upload, None where there are none. A broken chain renews the journal.

        Raises:
            JournalError: it cannot be read.

        """
        position = self.position
        if not position.unacknowledged:
            return None
        room = MAX_UPLOAD_BYTES - AROUND_RECORDS_BYTES
        try:
            batch = await self._read(partial(self._reader.batch, None, max_records=MAX_RECORDS, max_bytes=room))
        except JournalDamagedError as problem:
            await self.renew(position.journal_id, str(problem))
            return None
        return batch if batch.bodies else None

    async def set_acknowledged(self, journal_id: str, through: int) -> bool:
        """Note that the ledger has everything up to ``through``, and nothing after it: an authority may have lost some.

        Returns whether that can be: False for another journal, or for a record that is not held any more or not yet.
        """

        def work(store: Store) -> bool:
            position = store.position
            if position.journal_id != journal_id or not position.pruned <= through <= position.head:
                return False
            if through != position.acknowledged:
                store.set_acknowledged(through)
            return True

        return await self._done(work)

    async def acknowledge(self, journal_id: str, through: int) -> bool:
        """As :meth:`set_acknowledged`, but what the ledger had before stays."""

        def work(store: Store) -> bool:
            position = store.position
            if position.journal_id != journal_id or through > position.head:
                return False
            if through > position.acknowledged:
                store.set_acknowledged(through)
            return True

        return await self._done(work)

    async def renew(self, journal_id: str, reason: str) -> None:
        """Start a new journal with everything that the ledger does not have, unless another one is there already.

        The old files stay beside it, set aside.
        """

        def wanted(store: Store) -> bool:
            return store.position.journal_id == journal_id

        await self._done(wanted, renew=reason)

    async def export(self, *, license: str, first: int | None, limit: int) -> bytes:  # noqa: A002 - as in the file
        """Return a packed, signed export; see :func:`packed_export`. Raises JournalError as that does."""
        key = self._key()
        exported_at = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        make = partial(
            packed_export, self._reader, key, license=license, first=first, limit=limit, exported_at=exported_at
        )
        return await self._read(make)

    async def close(self) -> None:
        """Write what waits, and close the files."""
        self._writer.close()
        try:
            await self.run()
        finally:
            self._reading.shutdown(wait=False)
            self._writing.shutdown(wait=False)
            self._reader.close()
            self._lock.release()

    def _key(self) -> Ed25519PrivateKey:
        key = self._writer.key
        if key is None:
            raise JournalFullError(f"usage journal in {self._folder}: the disk is full")
        return key

    async def _read(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._reading, work)

    async def _done(self, work: Callable[[Store], Result], *, weight: int = 0, renew: str | None = None) -> Result:
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(work, done, weight=weight, renew=renew))
        result = await done
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return result
