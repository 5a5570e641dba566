"""Sockets on which processes listen, as /proc shows them."""

import contextlib
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

LISTEN = "0A"
"""TCP_LISTEN (linux/net/tcp_states.h)."""

SO_ACCEPTCON = 0x10000
"""Flag of a Unix socket that listens (linux/net.h)."""

CHANCE = re.compile(r"/\d{6,}$")
"""A kubelet binds its sockets under a new number at every start and renames the file (kubelet/util CreateListener)."""


def listening(pids: Iterable[int]) -> list[str]:
    """Return the addresses that processes listen on: `tcp 127.0.0.1:8080`, `unix /run/x.sock`; none of those gone."""
    sockets: dict[str, set[str]] = {}
    tables: dict[str, Path] = {}
    for pid in pids:
        proc = Path("/proc") / str(pid)
        try:
            namespace = str((proc / "ns/net").readlink())
            found = set(_open_files(proc))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        sockets.setdefault(namespace, set()).update(name[8:-1] for name in found if name.startswith("socket:["))
        tables[namespace] = proc / "net"
    # The tables are long where there are many connections: read once a network namespace.
    return sorted({line for namespace in tables for line in _named(tables[namespace], sockets[namespace])})


def _open_files(proc: Path) -> Iterator[str]:
    """What a process has open; a file closed while we look does not hide the others."""
    for entry in (proc / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(entry.readlink())


def _named(tables: Path, inodes: set[str]) -> list[str]:
    try:
        internet = [f"tcp {found}" for name in ("tcp", "tcp6") for found in tcp(tables / name, inodes)]
        return internet + [f"unix {found}" for found in unix(tables / "unix", inodes)]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tcp(table: Path, inodes: set[str]) -> list[str]:
    """Return the listening addresses of /proc/net/tcp or tcp6 whose socket is among ``inodes`` (proc(5))."""
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return [address(row[1]) for row in rows if row[3] == LISTEN and row[9] in inodes]


def unix(table: Path, inodes: set[str]) -> list[str]:
    """Return the paths of listening sockets of /proc/net/unix among ``inodes``; those without a path are left out.

    Numbers that a program drew are left out too: a program that starts again still listens at the same place.
    """
    rows = [line.split(maxsplit=7) for line in table.read_text(errors="replace").splitlines()[1:]]
    return [
        CHANCE.sub("/*", row[7])
        for row in rows
        if len(row) == 8 and int(row[3], 16) & SO_ACCEPTCON and row[6] in inodes
    ]


def address(encoded: str) -> str:
    """Decode `0100007F:1F90`: words of four bytes in the machine's order, then the port in hexadecimal."""
    host, port = encoded.split(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{int(port, 16)}"
