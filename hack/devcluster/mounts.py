"""Mounts of this mount namespace."""

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: where it is, and the type of its file system."""

    point: Path
    kind: str


def read() -> list[Mount]:
    """Return the mounts in the order they were made."""
    return [parse(line) for line in MOUNTINFO.read_text(errors="surrogateescape").splitlines()]


def parse(line: str) -> Mount:
    """Read a line of proc(5)'s mountinfo.

    The fifth field is the point, with octal escapes for blanks and backslashes; the type follows a lone hyphen, before
    which there may be any number of fields.
    """
    left, _, right = line.partition(" - ")
    point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), left.split(" ")[4])
    return Mount(Path(point), right.split(" ")[0])


def unmount(point: Path) -> str | None:
    """Unmount; what kept it from going, ``None`` when it is gone. umount(8) would leave /run/mount behind."""
    return os.strerror(ctypes.get_errno()) if _LIBC.umount2(os.fsencode(point), 0) != 0 else None


def cgroup_roots() -> list[Path]:
    """Return the mount points of cgroup hierarchies: one in version 2, one a controller or more in version 1."""
    return [mount.point for mount in read() if mount.kind in {"cgroup", "cgroup2"}]
