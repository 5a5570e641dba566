"""What a run needs to know of the machine it is on: cores, CPU time and memory of processes, and what it is called."""

import os
import platform
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

SERVED_CORE: Final = 0
"""The core of what is measured: the gateway, or nginx in its place."""

LOAD_CORE: Final = 1
"""The core of everything else: the generator, the ASR server, the license proxy, the echo server, this tool."""

MAX_OPEN_FILES: Final = 20_000
BUSY_LIMIT: Final = 0.70
"""Share of the load core above which latencies are the generator's as much as the gateway's: the run is void."""

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class MachineError(RuntimeError):
    """The machine cannot run a benchmark; the message names what is missing."""


def prepare() -> None:
    """Raise the limit of open files, which children inherit, move to the load core, and end in order on SIGTERM.

    Raises MachineError when there are no two cores.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    missing = {SERVED_CORE, LOAD_CORE} - os.sched_getaffinity(0)
    if missing:
        raise MachineError(f"core {min(missing)} may not be used: expected cores {SERVED_CORE} and {LOAD_CORE}")
    os.sched_setaffinity(0, {LOAD_CORE})
    # As Ctrl-C does: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))


def describe() -> str:
    """One line: processor, cores, kernel, Python."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of a process, all threads: in its own code and in the kernel on its behalf."""

    user_seconds: float
    system_seconds: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.user_seconds + self.system_seconds

    def __sub__(self, earlier: Self) -> "CpuTime":
        return CpuTime(self.user_seconds - earlier.user_seconds, self.system_seconds - earlier.system_seconds)


def cpu_time(pid: int) -> CpuTime:
    """CPU time so far (proc(5), ``stat`` fields 14 and 15; the name in field 2 may hold spaces)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return CpuTime(int(fields[11]) / _TICKS_A_SECOND, int(fields[12]) / _TICKS_A_SECOND)


def rss_bytes(pid: int) -> int:
    """Resident memory (proc(5), ``statm`` field 2)."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_BYTES


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Ticks of one core since boot. ``stolen`` is time the hypervisor gave to somebody else."""

    busy: int
    stolen: int
    total: int

    @classmethod
    def now(cls, core: int) -> Self:
        """Read proc(5) ``stat``: user nice system idle iowait irq softirq steal."""
        for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
            name, *rest = line.split()
            if name == f"cpu{core}":
                values = [int(value) for value in rest[:8]]
                idle, stolen, total = values[3] + values[4], values[7], sum(values)
                return cls(total - idle - stolen, stolen, total)
        raise MachineError(f"core {core} is not in /proc/stat: expected it online")

    def busy_share(self, earlier: Self) -> float:
        """Share of the time since ``earlier`` that anything ran on the core, 0 to 1."""
        return (self.busy - earlier.busy) / max(1, self.total - earlier.total)

    def stolen_share(self, earlier: Self) -> float:
        """Share of the time since ``earlier`` that the machine did not have the core, 0 to 1."""
        return (self.stolen - earlier.stolen) / max(1, self.total - earlier.total)
