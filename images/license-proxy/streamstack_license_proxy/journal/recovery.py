"""Opening a journal, whatever the last process left: as it is, or replaced by one with everything that can be saved."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_license_proxy.journal import files
from streamstack_license_proxy.journal.errors import JournalDamagedError, JournalError, typed
from streamstack_license_proxy.journal.log_check import check_log
from streamstack_license_proxy.journal.records import Position
from streamstack_license_proxy.journal.schema import migrate, version_of
from streamstack_license_proxy.journal.signing_key import make_key, read_key, remove_other_keys
from streamstack_license_proxy.journal.store import Store, connect, read_position
from streamstack_license_proxy.journal.verification import Salvage, salvageable, verify_unacknowledged

log = logging.getLogger(__name__)

TAKEN_AT_ONCE: Final = 5_000
"""Records that one transaction takes again."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open journal; ``damaged`` counts the journals that were set aside on the way."""

    store: Store
    key: Ed25519PrivateKey
    damaged: int


def open_journal(folder: Path, now_ms: int) -> Opened:
    """Open the journal of a folder, which the caller has locked; one is made where there is none.

    Everything that the authority does not have yet is verified. A damaged file is set aside, and everything in it that
    can be saved is taken again by a new journal.

    Raises:
        JournalFullError: the disk has no space for it; nothing is lost, try again later.
        JournalUnusableError: this version cannot work with the folder or the file.
        JournalError: reading or writing fails.

    """
    with _typed(folder):
        damaged = int(_finish(folder) is not None)
        if not (folder / files.NAME).exists():
            _replace(folder, now_ms, old=None)
        try:
            store, key = _open_whole(folder)
        except JournalDamagedError as problem:
            renew(folder, now_ms, reason=str(problem))
            damaged += 1
            store, key = _open_whole(folder)
        remove_other_keys(folder, store.position.journal_id)
        return Opened(store, key, damaged)


def renew(folder: Path, now_ms: int, *, reason: str) -> None:
    """Replace a closed journal by one that takes everything again which can be saved and the authority does not have.

    Raises:
        JournalError: as :func:`open_journal`; the old one is still there.

    """
    with _typed(folder):
        log.error("%s: the journal is set aside, a new one takes over what can be saved", reason)
        salvage = _replace(folder, now_ms, old=folder / files.NAME)
        log.warning("usage journal: %d records taken again, %d lost", salvage.saved, salvage.lost)


def _finish(folder: Path) -> Path | None:
    aside = files.finish_exchange(folder)
    if aside is not None:
        log.warning("usage journal: the one before is set aside as %s", aside.name)
    return aside


def _open_whole(folder: Path) -> tuple[Store, Ed25519PrivateKey]:
    """Open the journal if everything about it holds. Raises JournalDamagedError, or as SQLite does."""
    connection: sqlite3.Connection | None = None
    path = folder / files.NAME
    if path.stat().st_size == 0:
        raise JournalDamagedError(f"{path}: it is empty")
    check_log(path)
    try:
        _, total = files.free_bytes(folder)
        connection = connect(path, checkpoint_pages=files.checkpoint_pages(total))
        version_of(connection)
        migrate(connection)
        position = read_position(connection)
        key = read_key(folder, position.journal_id)
        verify_unacknowledged(connection, position)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error) and not files.is_not_allowed(error):
            raise typed(error, "usage journal") from error
        raise
    return Store(connection, position), key


def _replace(folder: Path, now_ms: int, *, old: Path | None) -> Salvage:
    """Make a new journal with what can be saved of ``old``, and put it in its place."""
    building = files.remove_building(folder)
    try:
        salvage = _build(folder, building, old)
    except BaseException:
        files.remove_building(folder)
        raise
    files.declare_whole(folder, building, now_ms)
    _finish(folder)
    return salvage


def _build(folder: Path, building: Path, old: Path | None) -> Salvage:
    journal_id, _ = make_key(folder)
    files.make_private(building)
    # It counts once it is whole, and is synced then.
    connection = connect(building, durable=False)
    salvage = Salvage()
    try:
        migrate(connection)
        store = Store(connection, Position.start(journal_id))
        with store.transaction():
            store.create(store.position)
        if old is not None:
            _take_again(store, old, salvage)
    finally:
        connection.close()
    return salvage


def _take_again(store: Store, old: Path, salvage: Salvage) -> None:
    if old.stat().st_size == 0:
        return  # SQLite would remove its log
    damaged = connect(old, read_only=True)
    try:
        # What is behind the end of a file that was cut short is missing; else nothing of it would be read.
        damaged.execute("PRAGMA writable_schema = ON")
        saved = salvageable(damaged, salvage)
        while piece := list(islice(saved, TAKEN_AT_ONCE)):
            with store.transaction():
                for entry, taken_ms in piece:
                    store.take_again(entry, taken_ms)
    finally:
        damaged.close()


@contextlib.contextmanager
def _typed(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise files.typed_os_error(error, folder) from error
    except sqlite3.Error as error:
        if files.is_not_allowed(error):
            raise files.unusable(folder, str(error)) from error
        raise typed(error, f"usage journal in {folder}") from error
    except JournalDamagedError as error:
        raise JournalError(f"usage journal in {folder}: {error}") from error
