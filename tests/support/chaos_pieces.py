"""Processes that are killed, stopped and started again, as an orchestrator starts what has died."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.chaos_judge import Life
from support.service import ServiceProcess, service

TESTS = Path(__file__).parent.parent
FAKETIME = "*/faketime/libfaketime.so.1"
"""Below ``/usr/lib``, by machine: Debian's package ``faketime``."""
BACK_OFF_SECONDS = 0.5
"""Between two starts of a process that ends at once."""


class FaultsMissingError(Exception):
    """The machine lacks what a fault needs; the message names the package."""


def now() -> float:
    """The run's clock, in seconds."""
    return asyncio.get_running_loop().time()


def skewed(hours: int) -> dict[str, str]:
    """Environment in which the wall clock is hours ahead, or behind; clocks that only count are as they are.

    Raises:
        FaultsMissingError: the library is not installed.

    """
    if not hours:
        return {}
    library = next(Path("/usr/lib").glob(FAKETIME), None)
    if library is None:
        raise FaultsMissingError(f"/usr/lib/{FAKETIME}: no such file; install the Debian package faketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{hours:+d}h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@dataclass
class Lived:
    """One process of a piece, from its start to its death."""

    piece: str
    stops: list[tuple[float, float]] = field(default_factory=list)
    killed_at: float | None = None

    def told(self) -> Life:
        return Life(self.piece, self.killed_at, tuple(self.stops))


@dataclass
class Piece:
    """A service under one name through all its processes.

    ``up`` is told what each process announced, ``down`` that it is gone. ``environment`` holds for all of them.
    """

    name: str
    module: str
    folder: Path
    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    kind: type[ServiceProcess] = ServiceProcess
    up: Callable[[dict[str, str]], None] = lambda _: None
    down: Callable[[], None] = lambda: None
    process: ServiceProcess | None = None
    life: Lived | None = None
    false_starts: int = 0
    logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.busy = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def start(self, *, skew_hours: int = 0) -> None:
        """Start it until it is ready: what a start needs (the license authority) may still be away."""
        environment = {"PYTHONPATH": str(TESTS), **self.environment, **skewed(skew_hours)}
        while True:
            process = await self._stack.enter_async_context(
                service(self.kind, self.module, *self.arguments, folder=self.folder, environment=environment)
            )
            self.process = process
            self.logs.append(process.log_file)
            try:
                await process.announced()
            except RuntimeError:
                # Not the failure of a test: an orchestrator would see the same and go on.
                self.false_starts += 1
                await self._bury()
                await asyncio.sleep(BACK_OFF_SECONDS)
                continue
            self.life = Lived(self.name)
            self.up(process.addresses)
            return

    async def kill(self) -> None:
        """SIGKILL. Whoever is told the time of death is told it before anybody can notice."""
        if self.life is not None:
            self.life.killed_at = now()
        self.life = None
        self.down()
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
        await self._bury()

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT some time later."""
        if self.process is None or self.process.process.returncode is not None:
            return
        life, process, began = self.life, self.process.process, now()
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
            if life is not None:
                life.stops.append((began, now()))

    async def _bury(self) -> None:
        self.process = None
        await self._stack.aclose()

    async def end(self) -> None:
        """Kill it, whatever it is doing."""
        self.life = None
        await self._bury()


def may_mount() -> bool:
    """Whether disks of a size can be had here."""
    return os.geteuid() == 0


@dataclass
class Disk:
    """A folder with a file system of its own, of a few megabytes where that is allowed."""

    folder: Path
    filler: Path

    def fill(self) -> None:
        """Leave no room for another byte."""
        block = bytes(64 * 1024)
        with suppress(OSError), self.filler.open("ab", buffering=0) as file:
            while file.write(block):
                pass

    def free(self) -> None:
        """Give back what :meth:`fill` took."""
        self.filler.unlink(missing_ok=True)


@asynccontextmanager
async def disk(folder: Path, *, megabytes: int = 16) -> AsyncIterator[Disk]:
    """A folder that can be full; an ordinary one without the privilege to mount."""
    folder.mkdir()
    mounted = may_mount()
    if mounted:
        options = f"size={megabytes}m,mode=0700"
        subprocess.run(("mount", "-t", "tmpfs", "-o", options, "chaos", str(folder)), check=True)
    try:
        yield Disk(folder, folder / "filler")
    finally:
        if mounted:
            subprocess.run(("umount", str(folder)), check=True)
