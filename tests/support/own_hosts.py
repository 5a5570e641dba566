"""Runs a module with a hosts file of its own: ``python -m support.own_hosts HOSTS MODULE``; what DNS would say.

A mount namespace gives this process, and nobody else, another ``/etc/hosts`` (mount_namespaces(7)); the resolver reads
it anew with every question, so a test changes it in place.
"""

import ctypes
import os
import runpy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def write_hosts(path: Path, name: str, addresses: Iterable[str]) -> None:
    """Let ``name`` have these addresses, in one write."""
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for address in addresses)]
    with path.open("w") as file:
        file.write("\n".join(lines) + "\n")


def is_possible(folder: Path) -> bool:
    """Whether this machine lets a process have mounts of its own."""
    hosts = folder / "hosts-probe"
    write_hosts(hosts, "probe.test", ["127.0.0.1"])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.own_hosts", str(hosts), "this"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _unshare() -> None:
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWNS) == 0:
        return
    _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _mount(source: str | None, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode() if source else None, target.encode(), None, ctypes.c_ulong(flags), None))


if __name__ == "__main__":
    hosts_file, module = sys.argv[1:]
    _unshare()
    _mount(None, "/", MS_REC | MS_PRIVATE)
    _mount(hosts_file, "/etc/hosts", MS_BIND)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
