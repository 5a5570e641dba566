"""What is remembered of check-ins, on disk: a small JSON file that outlives the process and the machine's boot."""

import asyncio
import logging
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamstack_common.license_status import Timestamp
from streamstack_license_proxy.trust import MAX_LICENSES, Memory, Stopwatch, Trust

log = logging.getLogger(__name__)

FILE_NAME: Final = "checkin.json"
MAX_FILE_BYTES: Final = 64 * 1024

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_BootId = Annotated[str, Field(max_length=64)]


class _Record(BaseModel):
    """Times of ``*_seconds`` are CLOCK_BOOTTIME of the boot named beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _StopwatchRecord(_Record):
    reference: Timestamp
    boot_id: _BootId
    boottime_seconds: _Seconds
    seen_boot_id: _BootId
    seen_boottime_seconds: _Seconds
    counted_seconds: _Seconds


class _TrustRecord(_Record):
    license_id: Annotated[str, Field(min_length=1, max_length=256)]
    since: _StopwatchRecord
    last_good: Timestamp | None
    last_failed: bool
    revoked: bool


class _MemoryRecord(_Record):
    version: Literal[1] = 1
    instance_id: Annotated[str, Field(min_length=1, max_length=64)]
    trusts: Annotated[tuple[_TrustRecord, ...], Field(max_length=MAX_LICENSES)]
    ever_good: bool


def fresh() -> Memory:
    """Return the memory of an installation that is new."""
    return Memory(secrets.token_hex(16))


def recall(path: Path) -> Memory:
    """What was remembered; a fresh memory when nothing usable is there, logged unless the file is just absent."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return fresh()
    except OSError as error:
        log.warning("check-in memory %s: %s; starting without", path, error.strerror)
        return fresh()
    try:
        return decoded(content)
    except ValidationError:
        log.warning("check-in memory %s: expected a record of version 1; starting without", path)
        return fresh()


def decoded(content: bytes) -> Memory:
    """Read a file's content. Raises pydantic's ValidationError when it is no such record."""
    record = _MemoryRecord.model_validate_json(content)
    trusts = (Trust(**{**dict(each), "since": Stopwatch(**dict(each.since))}) for each in record.trusts)
    return Memory(record.instance_id, tuple(trusts), record.ever_good)


def encoded(memory: Memory) -> bytes:
    """Content of the file."""
    record = _MemoryRecord.model_validate(memory, from_attributes=True)
    return record.model_dump_json(indent=1).encode() + b"\n"


def remember(path: Path, memory: Memory) -> None:
    """Replace the file by one complete record that is this user's alone, on the disk when this returns.

    Raises:
        OSError: it cannot be written; what was there before is still there.

    """
    # Always the same name, so that a process killed in between leaves one draft at most; there is one writer (journal).
    draft = path.with_name(f"{path.name}.new")
    try:
        # One that an earlier version left would keep its mode.
        draft.unlink(missing_ok=True)
        with open(draft, "xb", opener=_private) as file:
            file.write(encoded(memory))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


class MemoryFile:
    """The file as an event loop uses it; without a path nothing outlives the process."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE_NAME
        self._problem: str | None = None
        # One thread, so that a write that outlives its cancelled check-in still comes before the next one.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkin-memory")

    async def recall(self) -> Memory:
        """What was remembered, or a fresh memory."""
        return fresh() if self._path is None else await asyncio.to_thread(recall, self._path)

    async def remember(self, memory: Memory) -> None:
        """Write it; a disk that is full costs the memory of a restart, and is warned of once."""
        if self._path is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, remember, self._path, memory)
        except OSError as error:
            if error.strerror != self._problem:
                log.warning("check-in memory %s: %s; a restart will not know of check-ins", self._path, error.strerror)
            self._problem = error.strerror
        else:
            self._problem = None

    def close(self) -> None:
        """Wait for the last write."""
        self._writer.shutdown()


def _private(path: str, flags: int) -> int:
    """Open as :func:`open` wants it of its ``opener``: a new file is this user's alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
