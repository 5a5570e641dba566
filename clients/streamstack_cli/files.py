"""Files with something worth keeping: written whole and once, never over another, and read up to a size."""

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

PRIVATE: Final = 0o600


class FileError(ValueError):
    """A file cannot be used as asked; the message names it and what was expected."""


class OversizedError(FileError):
    """It is larger than anything of its kind."""


def check_new(path: Path) -> None:
    """Raise FileError where :func:`write_new` could not write: better before there is something to write."""
    if os.path.lexists(path):
        raise FileError(f"{path} is there already: expected a new name")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        problem = "cannot be written to" if path.parent.is_dir() else "is no folder"
        raise FileError(f"{path}: {path.parent} {problem}")


def replace(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file whole, in place of one that may be there. Raises FileError."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    write_new(draft, content, mode=mode)
    try:
        draft.replace(path)
        _keep_name(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise FileError(f"{path}: {error.strerror}") from error


@contextmanager
def new_file(path: Path, *, mode: int = PRIVATE) -> Iterator[IO[bytes]]:
    """Yield a file to write: after the block it is on disk, whole, under its name; where the block fails there is none.

    Raises FileError: there is a file of that name, or none can be written there.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}-", dir=path.parent) as draft:
            os.fchmod(draft.fileno(), mode)
            yield draft
            draft.flush()
            os.fsync(draft.fileno())
            # link(2) never replaces a file that came in between.
            os.link(draft.name, path)
        _keep_name(path.parent)
    except FileExistsError as error:
        raise FileError(f"{path} is there already: expected a new name") from error
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def write_new(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file that is not there yet, as :func:`new_file` does."""
    with new_file(path, mode=mode) as file:
        file.write(content)


def read(path: Path, *, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes. Raises FileError and FileNotFoundError."""
    try:
        # Without O_NONBLOCK opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError(f"{path}: expected a regular file")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    if len(content) > limit:
        raise OversizedError(f"{path}: expected at most {limit} bytes")
    return content


def _keep_name(folder: Path) -> None:
    """A name is on disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
