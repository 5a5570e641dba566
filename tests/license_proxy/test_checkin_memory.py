import asyncio
import errno
import logging
import os
import signal
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamstack_license_proxy.checkin_memory import (
    FILE_NAME,
    MAX_FILE_BYTES,
    MemoryFile,
    decoded,
    encoded,
    recall,
    remember,
)
from streamstack_license_proxy.trust import MAX_LICENSES, Memory, Moment, Stopwatch, Trust

NOW = Moment(datetime(2026, 5, 1, 12, 0, 0, 123456, UTC), "boot-1", 1234.5)
AUTHORITY_TIME = datetime(2026, 5, 1, 12, 0, 1, tzinfo=UTC)
MEMORY = Memory("this-installation").good("license-1", NOW, authority_time=AUTHORITY_TIME).revoked("license-2", NOW)

MOMENTS = st.datetimes(timezones=st.just(UTC), max_value=datetime(9999, 12, 30))  # noqa: DTZ001 - hypothesis wants it so
SECONDS = st.floats(0, 1e12)
NAMES = st.text("abcdef-0123456789", min_size=1, max_size=64)
STOPWATCHES = st.builds(Stopwatch, MOMENTS, NAMES, SECONDS, NAMES, SECONDS, SECONDS)
TRUSTS = st.builds(
    Trust, st.text(min_size=1, max_size=256), STOPWATCHES, st.none() | MOMENTS, st.booleans(), st.booleans()
)
MEMORIES = st.builds(Memory, NAMES, st.lists(TRUSTS, max_size=MAX_LICENSES).map(tuple), st.booleans())


@given(MEMORIES)
def test_what_is_read_is_what_was_written_whatever_it_was(memory: Memory) -> None:
    assert decoded(encoded(memory)) == memory


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_else_is_no_memory(content: bytes) -> None:
    with pytest.raises(ValidationError):
        decoded(content)


@pytest.mark.parametrize("cut", range(0, len(encoded(MEMORY)) - 2, 40))
def test_a_piece_of_one_is_no_memory(cut: int) -> None:
    with pytest.raises(ValidationError):
        decoded(encoded(MEMORY)[:cut])


def test_the_longest_memory_can_be_read_again(tmp_path: Path) -> None:
    memory = Memory("i" * 64)
    for number in range(MAX_LICENSES + 5):
        memory = memory.good(f"{number:03}" + "\U0001f511" * 253, NOW, authority_time=AUTHORITY_TIME)
    remember(tmp_path / FILE_NAME, memory)
    assert (tmp_path / FILE_NAME).stat().st_size <= MAX_FILE_BYTES
    assert recall(tmp_path / FILE_NAME) == memory
    assert len(memory.trusts) == MAX_LICENSES
    assert memory.of("000" + "\U0001f511" * 253) is None
    assert memory.ever_good


def test_the_file_is_this_users_alone_even_after_a_draft_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"of a process that was killed, for all to read")
    remember(path, MEMORY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert recall(path) == MEMORY


def test_an_absent_file_is_a_new_installation_and_no_two_are_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = recall(tmp_path / FILE_NAME), recall(tmp_path / FILE_NAME)
    assert first.instance_id != second.instance_id
    assert (first.trusts, first.ever_good) == ((), False)
    assert not caplog.records


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(encoded(MEMORY)[:-20]),
        lambda path: path.write_bytes(encoded(MEMORY).replace(b'"version": 1', b'"version": 2')),
        lambda path: path.write_bytes(b" " * MAX_FILE_BYTES + encoded(MEMORY)),
        lambda path: path.mkdir(),
    ],
    ids=["empty", "torn", "newer", "endless", "folder"],
)
def test_an_unusable_file_is_said_and_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object]
) -> None:
    spoil(tmp_path / FILE_NAME)
    assert recall(tmp_path / FILE_NAME).trusts == ()
    (record,) = caplog.records
    assert "starting without" in record.getMessage()


async def test_a_full_disk_only_warns_once_and_keeps_what_was_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = MemoryFile(tmp_path)
    await file.remember(MEMORY)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("os.fsync", full)
        for _ in range(3):
            await file.remember(MEMORY.failed("license-1", NOW))
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    assert await file.recall() == MEMORY
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    file.close()


async def test_without_a_folder_nothing_is_kept() -> None:
    file = MemoryFile(None)
    await file.remember(MEMORY)
    assert (await file.recall()).trusts == ()
    file.close()


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from streamstack_license_proxy.checkin_memory import remember
from streamstack_license_proxy.trust import Memory, Moment

memory = Memory("this-installation")
for number in range(10**9):
    now = Moment(datetime.now(UTC), "boot-1", float(number))
    memory = memory.good(f"license-{number % 20}", now, authority_time=now.wall)
    remember(Path(sys.argv[1]), memory)
    print(number, flush=True)
"""


async def test_a_process_killed_at_any_moment_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for writes in (1, 2, 3, 5, 8, 13):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(writes):
            last = await writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        await writer.wait()
        kept = decoded(path.read_bytes())
        # What was said to be written is there, or something later.
        assert kept.trusts[-1].since.boottime_seconds >= int(last)
        assert {entry.name for entry in tmp_path.iterdir()} <= {FILE_NAME, f"{FILE_NAME}.new"}
