"""``manifest.json`` of a model folder: the size and SHA-256 of each of its files, and what it says of the model.

Hashing gigabytes at every start is what nobody wants, so the verdict is kept in the store, by size, modification time
in nanoseconds and inode of every file: a file that was rewritten, replaced or restored has others and is read again.
What a verdict cannot see is a disk that changes bytes behind the file system's back; ``check --full`` reads everything.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from streamstack_asr.engines.nemotron.facts import ModelError, read_object
from streamstack_asr.engines.nemotron.store import files

NAME: Final = "manifest.json"
VERSION: Final = 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a model."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Files by path from the folder, with ``/``; ``model`` and ``license`` are empty where it does not say them."""

    files: Mapping[str, Entry]
    model: str = ""
    license: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the files' names, sizes and digests: the same model has the same, wherever it lies."""
        lines = [f"{name}\0{entry.size_bytes}\0{entry.sha256}\n" for name, entry in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def as_json(self) -> bytes:
        """Return the file's content."""
        entries = sorted(self.files.items())
        listed = {name: {"size": entry.size_bytes, "sha256": entry.sha256} for name, entry in entries}
        said = {name: value for name, value in (("model", self.model), ("license", self.license)) if value}
        return (json.dumps({"version": VERSION, **said, "files": listed}, indent=2) + "\n").encode()


def make(folder: Path, *, model: str = "", license_: str = "") -> Manifest:
    """Read every file of a folder and return its manifest. Raises ModelError."""
    try:
        found = {name: Entry((folder / name).stat().st_size, files.sha256(folder / name)) for name in _names(folder)}
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return Manifest(found, model, license_)


def read(folder: Path) -> Manifest | None:
    """Return a folder's manifest, or None when it has none. Raises ModelError for one that is not well-formed."""
    path = folder / NAME
    if not path.exists():
        return None
    whole = read_object(path)
    if whole.get("version") != VERSION:
        raise ModelError(f"{path}: version is {whole.get('version')!r}, expected {VERSION}")
    listed = whole.get("files")
    if not isinstance(listed, dict) or not listed:
        raise ModelError(f"{path}: files is {repr(listed)[:60]}, expected names with size and sha256")
    said = {name: whole.get(name, "") for name in ("model", "license")}
    for name, value in said.items():
        if not isinstance(value, str):
            raise ModelError(f"{path}: {name} is {repr(value)[:60]}, expected text")
    return Manifest({name: _entry(path, name, entry) for name, entry in listed.items()}, said["model"], said["license"])


def verify(folder: Path, manifest: Manifest, *, verdicts: Path | None = None, full: bool = False) -> None:
    """Check every file of a manifest. Raises ModelError naming the first that differs.

    ``verdicts``: the store's folder of verdicts; without one, or with ``full``, every byte is read.
    """
    states = {name: _state(folder / name, entry) for name, entry in manifest.files.items()}
    verdict = {"manifest": manifest.digest, "files": states}
    kept = None if verdicts is None else verdicts / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()}.json"
    if kept is not None and not full and _verdict(kept) == verdict:
        return
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            found = files.sha256(path)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        if found != entry.sha256:
            raise ModelError(f"{path}: SHA-256 is {found}, expected {entry.sha256} by {NAME}: corrupt or replaced")
    if kept is not None:
        files.try_write(kept, json.dumps(verdict).encode())


def _state(path: Path, entry: Entry) -> list[int]:
    """Return size, modification time and inode; the size is compared before a byte is read."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing, expected {entry.size_bytes} bytes by {NAME}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if found.st_size != entry.size_bytes:
        kind = "truncated: " if found.st_size < entry.size_bytes else ""
        raise ModelError(f"{path}: {kind}{found.st_size} bytes, expected {entry.size_bytes} by {NAME}")
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _verdict(kept: Path) -> Any:
    try:
        return json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return None


def _entry(path: Path, name: str, entry: object) -> Entry:
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or "\0" in name or name == NAME:
        raise ModelError(f"{path}: names {name[:100]!r}, expected paths within the folder")
    match entry:
        case {"size": int(size), "sha256": str(digest)} if size >= 0 and _DIGEST.fullmatch(digest):
            return Entry(size, digest)
        case _:
            raise ModelError(f"{path}: {name} is {repr(entry)[:100]}, expected its size and sha256")


def _names(folder: Path) -> Iterator[str]:
    """Yield the folder's files, hidden ones (a download tool's state) and the manifest left out."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no folder, expected one with a model")
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = (Path(root) / name).relative_to(folder)
            if not name.startswith(".") and str(path) != NAME:
                yield path.as_posix()
