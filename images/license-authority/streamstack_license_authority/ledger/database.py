"""One ledger in SQLite or PostgreSQL: connections, transactions, and threads that wait for them."""

import asyncio
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from streamstack_license_authority.ledger.migrations import migrate

log = logging.getLogger(__name__)

THREADS: Final = 16
"""Transactions at once in one process; each has a connection."""
WAIT_SECONDS: Final = 30
"""For a lock, a connection or a statement; whoever uploads then tries again."""

CHECKPOINT_WAIT_MS: Final = 2000
"""For readers in other processes: what they keep from being moved is moved another time."""


class ReadOnlyError(Exception):
    """The database answers and takes nothing: a standby, or a primary that another one has replaced."""


UNREACHABLE: Final = (OperationalError, InterfaceError, PoolTimeoutError, ReadOnlyError)
"""The database is away, locked, full, read-only or gives up: trying later may help, and nothing was written."""

_CHANGE_OF_NOTHING: Final = "UPDATE schema_version SET version = version WHERE FALSE"

Answer = TypeVar("Answer")


class Database:
    """A ledger; nothing is opened before it is used."""

    def __init__(self, url: URL) -> None:
        self._sqlite = url.get_backend_name() == "sqlite"
        connect = {"timeout": WAIT_SECONDS} if self._sqlite else _postgresql_arguments(url)
        # hide_parameters: an error's message must not repeat what was to be written.
        self._engine = create_engine(
            url,
            connect_args=connect,
            hide_parameters=True,
            pool_size=THREADS,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            pool_pre_ping=not self._sqlite,
        )
        if self._sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "handle_error", _give_up_read_only)
        self._writing = self._engine.execution_options(writes=True)
        # SQLite has one writer: within a process they queue here instead of polling the file.
        self._turn = threading.Lock()
        self._prepared = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees one state of the ledger as far as each statement goes."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, all of which is on disk after the block, or nothing."""
        if not self._sqlite:
            with self._writing.begin() as connection:
                yield connection
            return
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise PoolTimeoutError(f"no turn to write within {WAIT_SECONDS} seconds")
        try:
            with self._writing.begin() as connection:
                yield connection
        finally:
            self._turn.release()

    def prepare(self) -> None:
        """Make or upgrade the schema."""
        with self.writing() as connection:
            migrate(connection)
        self._prepared = True

    def probe(self) -> None:
        """Raise one of :data:`UNREACHABLE` when the database does not answer, or PostgreSQL takes nothing."""
        # PostgreSQL refuses even a change of no row where it is read-only. SQLite would wait for its turn to write.
        with self.reading() as connection:
            connection.execute(text("SELECT 1" if self._sqlite else _CHANGE_OF_NOTHING))

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do blocking work on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for what runs, then close every connection."""
        self._threads.shutdown()
        if self._prepared:
            self._checkpoint()
        self._engine.dispose()

    def _checkpoint(self) -> None:
        """Move what SQLite wrote into the file itself: a copy without its ``-wal`` would lack it."""
        if not self._sqlite:
            return
        connection = self._engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout={CHECKPOINT_WAIT_MS}")
            (busy, _written, _moved) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            problem = "another process reads it" if busy else None
        except sqlite3.Error as error:
            problem = reason_of(error)
        finally:
            # Not closed: the last connection to close locks others out, even those that only come to look.
            cursor.execute(f"PRAGMA busy_timeout={WAIT_SECONDS * 1000}")
            connection.close()  # back into the pool
        if problem is not None:
            log.warning("a part of the ledger stays in its -wal file: %s", problem)


def reason_of(error: Exception) -> str:
    """Say in one line why a database cannot be used: without the statement, and nothing of what it was to write."""
    return str(error).partition("\n")[0]


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    """Bounds on every wait, unless the URL sets its own."""
    milliseconds = WAIT_SECONDS * 1000
    options = f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds}"
    wanted = {"connect_timeout": 10, "options": options, "application_name": "streamstack-license-authority"}
    return {name: value for name, value in wanted.items() if name not in url.query}


def _give_up_read_only(context: ExceptionContext) -> None:
    """Drop every connection to a read-only PostgreSQL: they may stay so when it, or its successor, is writable."""
    if isinstance(context.original_exception, ReadOnlySqlTransaction):
        context.is_disconnect = True
        raise ReadOnlyError(f"it is read-only: {reason_of(context.original_exception)}")


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would begin transactions by itself, and only before some statements.
    connection.isolation_level = None
    with _first_opening(connection):
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _first_opening(connection: sqlite3.Connection) -> Iterator[None]:
    """One at a time: who changes the journal's mode beside another fails and does not wait (sqlite.org/wal.html)."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could find that another one wrote in between, and fail.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
