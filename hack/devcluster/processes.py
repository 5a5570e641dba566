"""Processes of this machine as /proc shows them."""

import os
import select
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")

PF_KTHREAD = 0x00200000
"""Flag of a kernel thread (linux/sched.h)."""

EXEC_SECONDS = 0.1
"""How long a process that has no arguments may take to show some: within execve(2) it has none for a moment."""


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process: ``started`` (clock ticks since boot) tells it from a later one with the same number."""

    pid: int
    started: int
    arguments: tuple[str, ...] = field(compare=False)

    @property
    def program(self) -> str:
        """Name of the program, without its folder."""
        return Path(self.arguments[0]).name

    def names(self, program: str) -> bool:
        """Tell whether a program is run, or about to be: env(1) and a script's interpreter have it as an argument."""
        return any(Path(word).name == program for word in self.arguments)

    def option(self, name: str) -> str | None:
        """Return what follows ``name`` among the arguments."""
        at = self.arguments.index(name) if name in self.arguments else len(self.arguments)
        return self.arguments[at + 1] if at + 1 < len(self.arguments) else None


def read(pid: int) -> Process | None:
    """Return a process; ``None`` when it is gone, a zombie, a kernel thread, or shows no arguments."""
    deadline = time.monotonic() + EXEC_SECONDS
    while True:
        try:
            stat = (PROC / str(pid) / "stat").read_text(errors="replace")
            arguments = (PROC / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc(5): the second field is the name in parentheses and may hold anything; then come the state (3), flags (9)
        # and the start time (22).
        fields = stat.rpartition(")")[2].split()
        if fields[0] in {"Z", "X"} or int(fields[6]) & PF_KTHREAD:
            return None
        words = arguments.decode(errors="replace").rstrip("\0").split("\0")
        if words[0]:
            return Process(pid, int(fields[19]), tuple(words))
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)


def running() -> list[Process]:
    """Return every process that has arguments."""
    found = (read(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def end(process: Process, *, seconds: float) -> bool:
    """Ask a process to end (SIGTERM), kill it after ``seconds``; whether it ended by itself.

    A process that is gone, or whose number now belongs to another one, has ended.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if read(process.pid) != process:
            return True
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if poll.poll(seconds * 1000):
                return number is signal.SIGTERM
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return False


def executable(pid: int) -> str | None:
    """Return the path of a process's program; ``None`` when it is gone or somebody else's."""
    try:
        return str((PROC / str(pid) / "exe").readlink())
    except OSError:
        return None


def cgroup_path(pid: int) -> tuple[str, ...]:
    """Return the parts of a process's cgroup paths in all hierarchies (cgroups(7)); none when it is gone."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(part for line in lines for part in line.split(":", 2)[2].split("/") if part)
