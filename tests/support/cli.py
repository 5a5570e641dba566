"""``streamstack`` as a process, as a person runs it."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

LONGEST_SECONDS = 60.0
"""Far beyond what a loaded machine needs; only a failing test waits this long."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


async def streamstack(*arguments: str | Path) -> Ran:
    """Run a command to its end, without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", *map(str, arguments)),
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
