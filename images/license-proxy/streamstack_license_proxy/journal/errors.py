"""Why a journal did not do what it was asked for. Whoever gets one of these was acknowledged nothing."""

import sqlite3
from typing import Final

FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""No space: on write(2), or for the index of the write-ahead log that readers share."""
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNREADABLE: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
"""A sector that is gone, or a file that ends too early."""
_PRIMARY: Final = 0xFF
"""The rest of an extended result code says where (sqlite.org/rescode.html)."""


class JournalError(Exception):
    """The journal cannot do this now."""


class JournalFullError(JournalError):
    """The disk is full; it works again once there is space."""


class JournalOverloadedError(JournalError):
    """More reports wait for the disk than may wait: try again."""


class JournalClosedError(JournalError):
    """The journal is being closed, with the process."""


class JournalLockedError(JournalError):
    """Another process has this journal."""


class JournalUnusableError(JournalError):
    """The folder or the file is not one that this version can work with; somebody has to do something."""


class JournalMovedOnError(JournalError):
    """What was asked for is not of the journal of now: it was replaced, or the records are gone."""


class JournalDamagedError(JournalError):
    """The file is damaged; never seen outside, a damaged journal is replaced."""


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether a file is damaged: by its code, without one where a text is none, by words where a table is gone."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.OperationalError)
    return code & _PRIMARY in DAMAGED or str(error).startswith("no such ")


def is_unreadable(error: sqlite3.Error) -> bool:
    """Tell whether a part of a file cannot be read, while others may."""
    return is_damage(error) or getattr(error, "sqlite_errorcode", None) in UNREADABLE


def typed(error: sqlite3.Error, what: str) -> JournalError:
    """Return what an error of SQLite means here."""
    code = getattr(error, "sqlite_errorcode", 0)
    message = f"{what}: {error}"
    if code in FULL or code & _PRIMARY == sqlite3.SQLITE_FULL:
        return JournalFullError(message)
    return JournalDamagedError(message) if is_damage(error) else JournalError(message)
