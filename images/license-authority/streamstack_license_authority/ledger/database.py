"""One ledger in SQLite or PostgreSQL: connections, transactions, and threads that wait for them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from sqlite3 import Connection as SqliteConnection
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from streamstack_license_authority.ledger.migrations import migrate

THREADS: Final = 16
"""Transactions at once in one process; each has a connection."""
WAIT_SECONDS: Final = 30
"""For a lock, a connection or a statement; whoever uploads then tries again."""

UNREACHABLE: Final = (OperationalError, InterfaceError, PoolTimeoutError)
"""The database is away, locked, full or gives up: trying again later may help, and nothing was written."""

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
        self._writing = self._engine.execution_options(writes=True)
        # SQLite has one writer: within a process they queue here instead of polling the file.
        self._turn = threading.Lock()
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

    def probe(self) -> None:
        """Raise one of :data:`UNREACHABLE` when the database does not answer."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do blocking work on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for what runs, then close every connection."""
        self._threads.shutdown()
        self._engine.dispose()


def reason_of(error: Exception) -> str:
    """Say in one line why a database cannot be used: without the statement, and nothing of what it was to write."""
    return str(error).partition("\n")[0]


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    """Bounds on every wait, unless the URL sets its own."""
    milliseconds = WAIT_SECONDS * 1000
    options = f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds}"
    wanted = {"connect_timeout": 10, "options": options, "application_name": "streamstack-license-authority"}
    return {name: value for name, value in wanted.items() if name not in url.query}


def _prepare_sqlite(connection: SqliteConnection, _record: object) -> None:
    # The driver would begin transactions by itself, and only before some statements.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could find that another one wrote in between, and fail.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
