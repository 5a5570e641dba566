"""`make demo`, as a process: real services, the real example client, recorded speech."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from support.stack import processes

REPOSITORY = Path(__file__).parent.parent.parent


async def start(**environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(REPOSITORY / "hack/demo"), env={**os.environ, **environment}, stdout=-1, stderr=-1
    )


async def test_once_it_ends_with_the_words_of_the_recording() -> None:
    process = await start(ONCE="1")
    out, err = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 0, err.decode()
    assert lines[-1].startswith("transcript: ")
    # What recognition of this quality gets right of "and mister john dashwood had then leisure to consider how much
    # there might be prudently in his power to do for them".
    words = lines[-1].lower().replace(".", "").split()
    assert {"john", "consider", "how", "much", "power", "to", "do", "for"} <= set(words)
    assert any("…" in line for line in lines)
    assert any(line.strip().startswith(">") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_leaves_nothing_running(number: signal.Signals) -> None:
    process = await start()
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if b"ready: " in line:
            break
    stacks = [pid for pid, (parent, _) in processes().items() if parent == process.pid]
    services = [pid for pid, (parent, _) in processes().items() if parent in stacks]
    process.send_signal(number)
    await process.communicate()
    assert process.returncode == 130
    assert len(services) >= 3
    assert not processes().keys() & {*stacks, *services}
