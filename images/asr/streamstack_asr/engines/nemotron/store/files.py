"""Writing so that a file is whole or absent, whatever ends the process or fills the disk; and hashing."""

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from streamstack_asr.engines.nemotron.facts import ModelError

PIECE_BYTES: Final = 1 << 20


def sha256(path: Path) -> str:
    """Return a file's SHA-256. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, content: bytes) -> None:
    """Write a file at once: beside it, to disk, then under its name. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_write(path: Path, content: bytes) -> None:
    """Write a file that spares work later, when the disk lets it be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failure(error: OSError, what: str, where: Path) -> ModelError:
    """Say what could not be done in the store, and why."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        free = free_bytes(where)
        left = "" if free is None else f" ({free / 1e9:.1f} GB free)"
        return ModelError(f"{where}: no space left{left} to {what}, expected room for the archive and what is in it")
    return ModelError(f"{where}: cannot {what}: {error.strerror or error}")


def free_bytes(folder: Path) -> int | None:
    """Return what may be written to a folder's file system, or None where that cannot be told."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
