"""Ports of this machine's loopback address: which is free, and who has one that is not."""

import socket
from pathlib import Path

from devcluster.errors import DevError

INGRESS_PORT = 8443
_TRIED = 100
_LISTEN = "0A"


def free_port(first: int = INGRESS_PORT, *, reserved: set[int]) -> int:
    """Return the first port from ``first`` on that is free on 127.0.0.1 and not in ``reserved``."""
    for port in range(first, first + _TRIED):
        if port not in reserved and is_free(port):
            return port
    raise DevError(f"no free port on 127.0.0.1 from {first} to {first + _TRIED - 1}", do="choose one: --ingress-port")


def require_valid(port: int) -> int:
    """Return a number if it is a port."""
    if not 1 <= port <= 65535:
        raise DevError(f"--ingress-port {port} is not a port: expected 1 to 65535", do="choose another")
    return port


def require_free(port: int) -> int:
    """Return a port that somebody asked for; :class:`DevError` naming who has it when it is taken."""
    if not is_free(port):
        raise DevError(
            f"port {port} on 127.0.0.1 is taken by {listener(port)}",
            do="choose another --ingress-port, or leave it out to get a free one",
        )
    return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of 127.0.0.1."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is over holds no port
        try:
            server.bind(("127.0.0.1", port))
        except PermissionError:
            return True  # below 1024, and not root: the engine binds it
        except OSError:
            return False
    return True


def listener(port: int) -> str:
    """Name who listens on a port, as far as /proc tells this user."""
    tables = "".join(path.read_text() for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists())
    sockets = {f"socket:[{inode}]" for inode in listening_inodes(tables, port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets and _has_one_of(process, sockets):
            command = (process / "comm").read_text().strip()
            return f"{command} (process {process.name})"
    return "another process"


def listening_inodes(tables: str, port: int) -> list[str]:
    """Return the socket inodes that listen on ``port`` in the text of /proc/net/tcp and tcp6 (proc(5))."""
    inodes = []
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN and fields[1].rpartition(":")[2] == f"{port:04X}":
            inodes.append(fields[9])
    return inodes


def _has_one_of(process: Path, sockets: set[str]) -> bool:
    try:
        return any(str(handle.readlink()) in sockets for handle in (process / "fd").iterdir())
    except OSError:
        return False  # it ended meanwhile, or belongs to somebody else
