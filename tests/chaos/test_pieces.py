"""The tools: a clock that is hours off, a disk that is full, a process that comes back."""

import asyncio
import errno
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from support.chaos_pieces import Piece, disk, may_mount, skewed
from support.service import call, write_credential

CLOCKS = "import time; print(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"


@pytest.mark.parametrize("hours", [7, -5])
async def test_a_skewed_process_has_another_wall_clock_and_no_other_monotonic_one(hours: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLOCKS), env=skewed(hours), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    wall, monotonic, boottime = map(float, output.split())
    assert timedelta(seconds=wall - time.time()) / timedelta(hours=1) == pytest.approx(hours, abs=0.1)
    assert monotonic <= time.monotonic()
    assert boottime <= time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_full_disk_takes_no_byte_and_a_freed_one_does(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("a disk of a size needs root, to mount it")
    folder = tmp_path / "disk"
    async with disk(folder, megabytes=1) as small:
        (folder / "before").write_bytes(b"x")
        small.fill()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (folder / "more").write_bytes(b"x" * 8192)
        small.free()
        (folder / "more").write_bytes(b"x" * 8192)
    assert list(folder.iterdir()) == []


async def test_a_piece_comes_back_after_its_death_with_another_process(tmp_path: Path) -> None:
    came: list[str] = []
    gone: list[None] = []
    piece = Piece(
        "asr",
        "streamstack_asr",
        tmp_path,
        {"STREAMSTACK_CREDENTIAL_FILE": str(write_credential(tmp_path))},
        ("--host", "127.0.0.1", "--server-port", "0", "--internal-port", "0", "--engine", "null"),
        up=lambda addresses: came.append(addresses["internal"]),
        down=lambda: gone.append(None),
    )
    await piece.start()
    first = piece.life
    assert first is not None
    freezing = asyncio.create_task(piece.freeze(0.2))
    assert (await call(f"{came[0]}/healthz", token=None))[0] == 200
    await freezing
    await piece.kill()
    await piece.start(skew_hours=7)
    assert piece.process is not None
    number = piece.process.process.pid
    assert first.killed_at is not None
    assert [begin < end < first.killed_at for begin, end in first.stops] == [True]
    assert (len(came), len(gone), piece.life is first) == (2, 1, False)
    assert (await call(f"{came[1]}/healthz", token=None))[0] == 200
    await piece.end()
    assert not list(Path("/dev/shm").glob(f"*faketime*_{number}"))  # noqa: S108
