"""The one thread that writes a journal: everything that arrived during a sync of the disk goes into the next.

So a slow disk makes groups larger, not the queue longer.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_license_proxy.journal import files, recovery
from streamstack_license_proxy.journal.errors import (
    JournalClosedError,
    JournalDamagedError,
    JournalError,
    JournalFullError,
    JournalOverloadedError,
)
from streamstack_license_proxy.journal.jobs import Job, resolve
from streamstack_license_proxy.journal.reader import Reader
from streamstack_license_proxy.journal.records import Position
from streamstack_license_proxy.journal.store import Retention, Store

log = logging.getLogger(__name__)

MAX_WAITING: Final = 20_000
"""Reports that may wait for the disk: some seconds' worth, and about 20 MB."""
MAX_GROUP: Final = 5_000
"""Reports of one transaction; some megabytes of SQLite's log."""
HOUSEKEEPING_SECONDS: Final = 60.0
PRUNED_AT_ONCE: Final = 500
OPEN_AGAIN_SECONDS: Final = 1.0
"""Between two attempts to open a journal that could not be opened."""

Result = TypeVar("Result")


@dataclass(slots=True)
class Counts:
    """What happened to a journal since the process began; written by its thread alone."""

    records: int = 0
    damaged: int = 0
    commits: int = 0
    pruned: int = 0


@dataclass(slots=True)
class _Queue:
    jobs: deque[Job[Any]] = field(default_factory=deque)
    weight: int = 0
    closing: bool = False


class Writer:
    """See the module. ``position`` and ``key`` are those of the last commit, None while the file cannot be opened."""

    def __init__(self, folder: Path, reader: Reader, *, retention: Retention, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._reader = reader
        self._retention = retention
        self._now_ms = now_ms
        self._changed = threading.Condition()
        self._queue = _Queue()
        self._store: Store | None = None
        self._try_again = 0.0
        self._problem: JournalError | None = None
        self._keep_house = 0.0
        self._pruned_at_once = PRUNED_AT_ONCE
        self.position: Position | None = None
        self.key: Ed25519PrivateKey | None = None
        self.counts = Counts()
        self.full = False

    def open(self) -> None:
        """Open the journal, before the thread runs. A full disk is no reason to give up: the thread tries again.

        Raises:
            JournalError: it cannot be used.

        """
        try:
            self._open()
        except JournalFullError as problem:
            self._note_full(problem)

    def submit(self, job: Job[Any]) -> None:
        """Have a job done; its future is resolved in its own loop.

        Raises:
            JournalOverloadedError: too much waits.
            JournalClosedError: nothing is taken any more.

        """
        with self._changed:
            if self._queue.closing:
                raise JournalClosedError("usage journal: it is being closed")
            if self._queue.weight and self._queue.weight + job.weight > MAX_WAITING:
                raise JournalOverloadedError(f"usage journal: {self._queue.weight} reports wait for the disk")
            self._queue.jobs.append(job)
            self._queue.weight += job.weight
            self._changed.notify()

    def close(self) -> None:
        """Have the thread end once everything that waits is done."""
        with self._changed:
            self._queue.closing = True
            self._changed.notify()

    def run(self) -> None:
        """Work until closed: the thread's whole life."""
        group: list[Job[Any]] | None = []
        try:
            while (group := self._next_group()) is not None:
                if group:
                    self._serve(group)
                self._housekeeping()
        finally:
            self._end(group or [])

    def _next_group(self) -> list[Job[Any]] | None:
        """Wait for jobs or for the time to keep house; None at the end. A renewal is a group of its own."""
        with self._changed:
            wait = max(0.0, self._keep_house - time.monotonic())
            self._changed.wait_for(lambda: self._queue.jobs or self._queue.closing, wait)
            if not self._queue.jobs:
                return None if self._queue.closing else []
            group: list[Job[Any]] = []
            weight = 0
            while self._queue.jobs and (not group or weight + self._queue.jobs[0].weight <= MAX_GROUP):
                if self._queue.jobs[0].renew is not None and group:
                    break
                job = self._queue.jobs.popleft()
                group.append(job)
                weight += job.weight
                if job.renew is not None:
                    break
            self._queue.weight -= weight
            return group

    def _serve(self, group: Sequence[Job[Any]]) -> None:
        """Do a group's jobs in one transaction and tell who waits. On a full disk reports alone are turned away."""
        try:
            full = self._no_room() if any(job.weight for job in group) else None
            if full is not None:
                resolve([job for job in group if job.weight], full)
                group = [job for job in group if not job.weight]
            if not group:
                return
            results = self._renewal(group[0]) if group[0].renew is not None else self._done([j.work for j in group])
            if self.full and any(job.weight for job in group):
                self.full = False
                log.info("usage journal: there is space again")
        except JournalError as problem:
            resolve(group, problem)
        else:
            resolve(group, results)

    def _no_room(self) -> JournalFullError | None:
        """Return why no report is taken: what is left of the disk is for what makes room (``files.RESERVED_BYTES``)."""
        free, total = files.free_bytes(self._folder)
        reserve = files.reserve_bytes(total)
        if free >= reserve:
            return None
        (unused,) = self._done([Store.unused_bytes])
        if free + unused >= reserve:
            return None
        problem = JournalFullError(f"usage journal in {self._folder}: less than {reserve} bytes are free")
        self._note_full(problem)
        return problem

    def _done(self, work: Sequence[Callable[[Store], Result]]) -> list[Result]:
        """Do work in one transaction; a journal that turns out to be damaged is replaced first."""
        store = self._opened()
        try:
            return self._committed(store, work)
        except JournalDamagedError as problem:
            self._renew(str(problem))
            return self._committed(self._opened(), work)

    def _committed(self, store: Store, work: Sequence[Callable[[Store], Result]]) -> list[Result]:
        before = store.position
        try:
            with store.transaction():
                results = [each(store) for each in work]
        except JournalFullError as problem:
            self._note_full(problem)
            store.checkpoint()
            if store.broken:
                self._drop()
            raise
        except JournalDamagedError:
            raise
        except JournalError:
            # Whatever it was, what is on disk counts, and that is found out by reading it.
            self._drop()
            raise
        self.position = store.position
        if self.full and store.position.acknowledged > before.acknowledged:
            self._keep_house = 0.0
        self.counts.records += store.position.head - before.head
        self.counts.commits += 1
        return results

    def _renewal(self, job: Job[Any]) -> list[object]:
        store = self._opened()
        wanted = job.work(store)
        if wanted and job.renew is not None:
            self._renew(job.renew)
        return [wanted]

    def _renew(self, reason: str) -> None:
        with self._reader.shut():
            self._drop()
            try:
                recovery.renew(self._folder, self._now_ms(), reason=reason)
            except JournalFullError as problem:
                self._note_full(problem)
                raise
            self.counts.damaged += 1
            self._open()

    def _opened(self) -> Store:
        """Return the store, opened if need be and if the last attempt is a moment ago."""
        if self._store is not None:
            return self._store
        if self._problem is not None and time.monotonic() < self._try_again:
            raise self._problem
        try:
            with self._reader.shut():
                return self._open()
        except JournalError as problem:
            self._problem, self._try_again = problem, time.monotonic() + OPEN_AGAIN_SECONDS
            if isinstance(problem, JournalFullError):
                self._note_full(problem)
            raise

    def _open(self) -> Store:
        opened = recovery.open_journal(self._folder, self._now_ms())
        self.counts.damaged += opened.damaged
        self.key = opened.key
        self.position = opened.store.position
        self._store = opened.store
        return opened.store

    def _drop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _note_full(self, problem: JournalFullError) -> None:
        if not self.full:
            self.full = True
            log.error("%s: nothing is acknowledged until there is space", problem)
        # What the ledger has makes room.
        self._keep_house = 0.0

    def _housekeeping(self) -> None:
        """Forget what is old, a little at a time and between the reports."""
        if time.monotonic() < self._keep_house or self._store is None:
            return
        self._keep_house = time.monotonic() + HOUSEKEEPING_SECONDS
        try:
            short = files.is_short_of_space(*files.free_bytes(self._folder))
            retention = self._retention.without_records() if short else self._retention
            (pruned,) = self._done([lambda store: store.prune(self._now_ms(), retention, limit=self._pruned_at_once)])
        except JournalFullError:
            # Less at once takes less space; the least there is has to wait for some.
            self._keep_house = 0.0 if self._pruned_at_once > 1 else time.monotonic() + OPEN_AGAIN_SECONDS
            self._pruned_at_once = max(1, self._pruned_at_once // 4)
            return
        except JournalError as problem:
            log.warning("%s: nothing old is removed for now", problem)
            self._keep_house = time.monotonic() + HOUSEKEEPING_SECONDS
            return
        self._pruned_at_once = min(PRUNED_AT_ONCE, self._pruned_at_once * 2)
        self.counts.pruned += pruned.records
        if pruned.more:
            self._keep_house = 0.0

    def _end(self, unfinished: Sequence[Job[Any]]) -> None:
        with self._changed:
            self._queue.closing = True
            left = [*unfinished, *self._queue.jobs]
            self._queue.jobs.clear()
        resolve(left, JournalClosedError("usage journal: it was closed"))
        self._reader.close()
        self._drop()
