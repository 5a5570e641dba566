"""A whole stack as the command line runs it: real processes, real sockets; for tests and benchmarks."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamstack_common.process import ANNOUNCE_FD

STOP_SECONDS = 60.0


class StackError(Exception):
    """The stack did not start, or did not end as expected; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """Addresses of a running stack, its credential and its processes.

    ``gateway`` is ``ws://host:port``, ``asr`` ``host:port`` (gRPC), the others are ``http://host:port``. ``log`` grows
    while it runs; its lines start with the service's name.
    """

    gateway: str
    gateway_internal: str
    license_proxy: str
    asr: str
    asr_internal: str
    credential_file: Path
    process: asyncio.subprocess.Process
    log: list[str] = field(repr=False)

    @property
    def pid(self) -> int:
        """Process of ``streamstack up``."""
        return self.process.pid

    @property
    def credential(self) -> str:
        """Token for internal calls."""
        return self.credential_file.read_text().split()[0]

    def services(self) -> dict[str, int]:
        """Process of each service that runs: ``license-proxy``, ``asr``, ``gateway``."""
        found = {}
        for pid, (parent, _) in processes().items():
            if parent == self.pid:
                module = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2].decode()
                found[module.removeprefix("streamstack_").replace("_", "-")] = pid
        return found

    async def ended(self) -> int:
        """Wait until ``streamstack up`` has ended; its exit status."""
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()


def processes() -> dict[int, tuple[int, int]]:
    """Every process that is not a zombie: its parent and its session, as proc(5) tells them."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[int(entry.name)] = (int(parent), int(session))
    return found


def in_sessions(sessions: Sequence[int]) -> list[int]:
    """Processes of these sessions; each service leads one, so these are the services and all they started."""
    return [pid for pid, (_, session) in processes().items() if session in sessions]


async def gone(pid: int) -> None:
    """Wait until a process, own child or not, has ended (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def arguments(engine: str, settings: Sequence[str], options: dict[str, object]) -> list[str]:
    """Return the arguments of ``streamstack up``: ``max_sessions=3`` is ``--max-sessions 3``."""
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return ["up", "--engine", engine, *flags, *(part for setting in settings for part in ("--set", setting))]


@asynccontextmanager
async def stack(
    engine: str = "scripted", *, expected_status: int = 0, settings: Sequence[str] = (), **options: object
) -> AsyncIterator[RunningStack]:
    """Run a stack; on leaving it is stopped by SIGTERM, unless it has ended, and checked.

    ``settings`` are ``SERVICE.NAME=VALUE``; ``options`` are those of ``streamstack up`` with underscores, such as
    ``slots=4``. Raises StackError when it does not start, ends with another status than ``expected_status``, or leaves
    a process behind.
    """
    # The pipe ties the stack's life to this process, however this ends; the addresses come on standard output.
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streamstack_cli",
            *arguments(engine, settings, options),
            env={**os.environ, ANNOUNCE_FD: str(write_end)},
            pass_fds=(write_end,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(write_end)
    assert process.stdout is not None
    assert process.stderr is not None
    log: list[str] = []
    logging = asyncio.create_task(_collect(process.stderr, log))
    sessions: list[int] = []
    try:
        line = await process.stdout.readline()
        if not line:
            await logging
            raise StackError(f"not ready, status {await process.wait()}:\n" + "\n".join(log[-30:]))
        facts = json.loads(line)
        running = RunningStack(**{**facts, "credential_file": Path(facts["credential_file"])}, process=process, log=log)
        sessions = list(running.services().values())
        yield running
    finally:
        await _stop(process)
        await logging
        os.close(read_end)
    for session in sessions:
        if expected_status < 0:
            await gone(session)
    left = in_sessions(sessions)
    if left or process.returncode != expected_status:
        raise StackError(
            f"ended with status {process.returncode}, expected {expected_status}; processes left: {left}\n"
            + "\n".join(log[-30:])
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _collect(stream: asyncio.StreamReader, log: list[str]) -> None:
    rest = b""
    while chunk := await stream.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        log.extend(line.decode(errors="replace") for line in lines)
