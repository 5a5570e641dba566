"""A process that takes reports as fast as it can is killed at any moment, again and again."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from support.journals import chained_bodies, damaged

WRITER = """
import asyncio, sys
from pathlib import Path
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from support.journals import entries

async def main(folder, run):
    journal = UsageJournal.open(Path(folder))

    async def gateway(name):
        sequence = 1
        while True:
            await journal.take(entries(3, session=f"session-{run}-{name}", first=sequence))
            sequence += 3
            print(f"session-{run}-{name} {sequence - 1}", flush=True)

    await asyncio.gather(*(gateway(name) for name in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


def acknowledged(folder: Path, run: int, lines: int) -> dict[str, int]:
    """Run it until it said so many lines, and kill it; returns the last acknowledged sequence of each session."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", WRITER, str(folder), str(run)]
    said: dict[str, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout):
            if count == lines:
                process.send_signal(signal.SIGKILL)
            session, sequence = line.split()
            said[session] = int(sequence)
    assert process.returncode == -signal.SIGKILL
    return said


def test_everything_acknowledged_is_there_after_any_number_of_kills(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    said: dict[str, int] = {}
    for run in range(5):
        said |= acknowledged(tmp_path, run, chance.randint(1, 60))
        bodies = "\n".join(chained_bodies(tmp_path))
        for session, sequence in said.items():
            assert f'"session_id":"{session}","sequence":{sequence},' in bodies
    assert damaged(tmp_path) == []
