"""Debian's PostgreSQL as a process: a cluster of the test run's own, on a socket in a folder of its own."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from support.polling import wait_until

BINARIES = Path("/usr/lib/postgresql")
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PostgresqlServer:
    """A running server; ``folder`` has its socket."""

    folder: Path

    def database_url(self) -> str:
        """A new, empty database."""
        name = f"test_{secrets.token_hex(8)}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def conninfo(self, database: str) -> str:
        return f"host={self.folder} user=postgres dbname={database}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.conninfo("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Run a server. Its disk is not waited for: what is killed in tests is what speaks to it."""
    binaries = _binaries()
    # Not below pytest's folder, which nobody but root may enter; and a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _unprivileged()
    shutil.chown(folder, *user)
    become = _become(user)
    data = folder / "data"
    try:
        initdb = (binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        subprocess.run([*become, *initdb], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        settings = ("fsync=off", "listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200")
        options = [part for setting in settings for part in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*become, binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder
            )
        try:
            running = PostgresqlServer(folder)
            wait_until(lambda: server.poll() is not None or running.answers())
            assert server.poll() is None, (folder / "log").read_text()
            yield running
        finally:
            # Without waiting for clients: those of a failed test may be there still.
            server.send_signal(signal.SIGINT)
            server.wait(STOP_SECONDS)
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    """The newest version's programs."""
    found = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, f"no PostgreSQL in {BINARIES}: expected Debian's package postgresql"
    return found[-1].parent


def _unprivileged() -> tuple[int, int]:
    """Who may run it: root may not."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam("postgres")
    return entry.pw_uid, entry.pw_gid


def _become(user: tuple[int, int]) -> list[str]:
    """Run as this user, and end with the test run, whatever ends that (SIGINT: without waiting for clients)."""
    identity = [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *identity, "--pdeathsig=INT", "--"]
