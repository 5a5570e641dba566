"""The files of a journal in its folder, and how a damaged one is exchanged for its successor without a moment between.

The successor is made whole under another name. From then on the exchange is only ever finished, by whoever opens the
journal next: a process may be killed at any of its steps.
"""

import errno
import fcntl
import logging
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamstack_license_proxy.journal.errors import (
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnusableError,
)
from streamstack_license_proxy.journal.signing_key import sync_folder

log = logging.getLogger(__name__)

NAME: Final = "usage.sqlite3"
LOCK_NAME: Final = "usage.lock"
BUILDING_NAME: Final = "usage.sqlite3.building"
_NEXT: Final = "usage.sqlite3.next-"
_DAMAGED: Final = "usage.sqlite3.damaged-"
_WAL: Final = "-wal"
_SHM: Final = "-shm"
KEPT_DAMAGED: Final = 10
"""Journals set aside that are kept; the oldest goes first."""

LITTLE_SPACE_BYTES: Final = 256 * 1024 * 1024
RESERVED_BYTES: Final = 8 * 1024 * 1024
"""No report is taken into the last of a volume (or its last twentieth): noting what the ledger has, and forgetting it,
takes space before it gives some."""

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_ALLOWED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR})
_SQLITE_NOT_ALLOWED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


def typed_os_error(error: OSError, folder: Path) -> JournalError:
    """Return what an error of the file system means here."""
    if error.errno in _NO_SPACE:
        return JournalFullError(f"usage journal in {folder}: {error.strerror}")
    if error.errno in _NOT_ALLOWED:
        return unusable(folder, error.strerror or str(error))
    return JournalError(f"usage journal in {folder}: {error.strerror or error}")


def is_not_allowed(error: sqlite3.Error) -> bool:
    """Tell whether SQLite was kept from its files: no space is not such an error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_NOT_ALLOWED


def unusable(folder: Path, reason: str) -> JournalUnusableError:
    """Return the error that says what the folder has to be."""
    return JournalUnusableError(
        f"usage journal in {folder}: {reason}: expected a folder on a volume that user {os.getuid()} may write"
    )


class FolderLock:
    """Two processes never write one journal: who has this lock may. It goes with the process (flock(2))."""

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise JournalLockedError(
                f"{path}: another license proxy has this journal: expected a folder for each"
            ) from None

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)


def remove_building(folder: Path) -> Path:
    """Return where a new journal is made; what an interrupted attempt left is removed."""
    path = folder / BUILDING_NAME
    for suffix in ("", _WAL, _SHM):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return path


def declare_whole(folder: Path, building: Path, now_ms: int) -> None:
    """Say that a new journal, closed, is whole: from now on it is the one."""
    descriptor = os.open(building, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    building.rename(folder / f"{_NEXT}{_free_moment(folder, now_ms)}")
    sync_folder(folder)


def finish_exchange(folder: Path) -> Path | None:
    """Set the old journal aside and put its successor in its place, where one is ready; returns what was set aside.

    No connection to the old one may be open: SQLite removes the write-ahead log of a file by name.
    """
    ready = sorted(folder.glob(f"{_NEXT}*"))
    if not ready:
        return None
    successor, main = ready[-1], folder / NAME
    aside = folder / f"{_DAMAGED}{successor.name.removeprefix(_NEXT)}"
    found = False
    # The log first: without it the old file is an older journal, which nobody opens while there is a successor.
    for suffix in (_WAL, ""):
        path = main.with_name(main.name + suffix)
        if path.exists():
            path.rename(aside.with_name(aside.name + suffix))
            found = True
    main.with_name(main.name + _SHM).unlink(missing_ok=True)
    sync_folder(folder)
    successor.rename(main)
    sync_folder(folder)
    _drop_oldest_damaged(folder)
    return aside if found or aside.exists() else None


def bytes_on_disk(folder: Path) -> int:
    """Return the bytes of the journal with its log."""
    total = 0
    for suffix in ("", _WAL):
        try:
            total += (folder / f"{NAME}{suffix}").stat().st_size
        except FileNotFoundError:
            continue
    return total


def free_bytes(folder: Path) -> tuple[int, int]:
    """Return the volume's free and total bytes, as this user has them.

    Raises:
        JournalError: it cannot be asked.

    """
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        raise typed_os_error(error, folder) from error
    return usage.free, usage.total


def is_short_of_space(free: int, total: int) -> bool:
    """Tell whether a volume is nearly full: what the ledger has is not kept any longer then."""
    return free < min(LITTLE_SPACE_BYTES, total // 5)


def reserve_bytes(total: int) -> int:
    """Return how much of a volume has to be free before a report is taken."""
    return min(RESERVED_BYTES, total // 20)


def checkpoint_pages(total: int) -> int:
    """Return after how many pages of 4 KiB the log is moved into the main file: what is reserved has room for it."""
    return max(8, min(1000, reserve_bytes(total) // 2 // 4096))


def make_private(path: Path) -> None:
    """Make an empty file that only this user can read; SQLite gives its log the same mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _free_moment(folder: Path, now_ms: int) -> str:
    """``20260101T120000Z``, and a number where that is taken."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    taken = {path.name.removesuffix(_WAL) for path in folder.glob(f"{_DAMAGED}*")}
    name, again = moment, 1
    while f"{_DAMAGED}{name}" in taken:
        again += 1
        name = f"{moment}-{again}"
    return name


def _drop_oldest_damaged(folder: Path) -> None:
    damaged = sorted(path for path in folder.glob(f"{_DAMAGED}*") if not path.name.endswith(_WAL))
    for path in damaged[:-KEPT_DAMAGED]:
        log.warning("usage journal: %s is removed: more than %d were set aside", path.name, KEPT_DAMAGED)
        path.with_name(path.name + _WAL).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
