"""Unpacking an archive of a model: regular files and folders, within bounds, on disk before it returns.

The archive's SHA-256 has been checked, so it is what somebody meant; that somebody may still have meant ill, or have
packed links that lead elsewhere on another machine.
"""

import errno
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import files


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may hold: files and folders together, bytes once unpacked, folders in each other."""

    members: int = 4096
    size_bytes: int = 64 << 30
    depth: int = 16


BOUNDS: Final = Bounds()
_BROKEN: Final = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error,
    EOFError, OverflowError, ValueError, RuntimeError, struct.error,
)  # fmt: skip
"""What the standard library raises for archives that are none, end early, or are packed in a way it does not know."""
_LONGEST_NAME: Final = 255  # of one part of a path, on Linux


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: its path within the folder, and its bytes unless it is a folder."""

    path: PurePosixPath
    content: IO[bytes] | None


def unpack(archive: Path, folder: Path, *, bounds: Bounds = BOUNDS) -> None:
    """Unpack a tar archive (also gz, bz2, xz) or a zip into the empty ``folder``.

    Raises ModelError for what is no archive or not a plain one, OSError for what cannot be written.
    """
    made = {folder}
    size_bytes = 0
    try:
        with _members(archive) as members:
            for count, member in enumerate(members, start=1):
                if count > bounds.members:
                    raise ModelError(f"{archive.name}: more than {bounds.members} files, expected those of a model")
                path = folder / _checked(archive, member.path, bounds)
                made |= _make_folders(archive, path if member.content is None else path.parent, folder)
                if member.content is not None:
                    size_bytes += _write(archive, member, path, left=bounds.size_bytes - size_bytes)
    except _BROKEN as error:
        raise ModelError(f"{archive.name}: cannot be unpacked ({error}), expected a whole tar or zip") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A damaged zip leads to before its own beginning.
        raise ModelError(f"{archive.name}: cannot be unpacked ({error}), expected a whole tar or zip") from error
    for path in sorted(made, reverse=True):
        files.sync_folder(path)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        with zipfile.ZipFile(archive) as opened, closing(_zip_members(archive, opened)) as members:
            yield members
    else:
        with tarfile.open(archive, mode="r:*") as opened_tar, closing(_tar_members(archive, opened_tar)) as members:
            yield members


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Generator[Member, None, None]:
    for entry in opened:
        if entry.isdir():
            yield Member(PurePosixPath(entry.name), None)
        elif entry.isreg() and not entry.issparse():
            content = opened.extractfile(entry)
            if content is None:
                raise ModelError(f"{archive.name}: {_shown(entry.name)} has no content, expected a file")
            with content:
                yield Member(PurePosixPath(entry.name), content)
        else:
            kind = "a link" if entry.issym() or entry.islnk() else "neither file nor folder"
            raise ModelError(f"{archive.name}: {_shown(entry.name)} is {kind}, expected files and folders alone")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Generator[Member, None, None]:
    for entry in opened.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or entry.flag_bits & 1:
            said = "encrypted" if entry.flag_bits & 1 else "a link or a device"
            raise ModelError(f"{archive.name}: {_shown(entry.filename)} is {said}, expected files and folders alone")
        if entry.is_dir():
            yield Member(PurePosixPath(entry.filename), None)
        else:
            with opened.open(entry) as content:
                yield Member(PurePosixPath(entry.filename), content)


def _checked(archive: Path, path: PurePosixPath, bounds: Bounds) -> PurePosixPath:
    """Return the path when it stays within the folder, whatever system the archive was made on."""
    text = str(path)
    plain = not path.is_absolute() and ".." not in path.parts and not set(text) & {"\\", "\0", ":"}
    if not plain or not text.isprintable():
        raise ModelError(f"{archive.name}: names {_shown(text)}, expected paths within the folder")
    if len(path.parts) > bounds.depth or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ModelError(f"{archive.name}: names {_shown(text)}, expected shorter paths")
    return path


def _make_folders(archive: Path, wanted: Path, folder: Path) -> set[Path]:
    made = {wanted, *(parent for parent in wanted.parents if parent.is_relative_to(folder))}
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        shown = _shown(str(wanted.relative_to(folder)))
        raise ModelError(f"{archive.name}: {shown} is a file and a folder, expected one of them") from error
    return made


def _write(archive: Path, member: Member, path: Path, *, left: int) -> int:
    """Write one file that is not there yet, no more than ``left`` bytes; how many it was."""
    if member.content is None:
        return 0
    try:
        file = path.open("xb")
    except (FileExistsError, IsADirectoryError) as error:
        raise ModelError(f"{archive.name}: has {_shown(str(member.path))} twice, expected every file once") from error
    written = 0
    with file:
        while piece := member.content.read(files.PIECE_BYTES):
            written += len(piece)
            if written > left:
                raise ModelError(f"{archive.name}: unpacks to more than is allowed, expected the files of a model")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)
    return written


def _shown(name: str) -> str:
    return repr(name)[:120]
