"""One measurement: the generator against something on the served core, with what it cost in CPU and memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import machine
import processes

LAG_LIMIT_MS: Final = 10.0
"""p99 of the generator's own lateness above which its latencies say little."""

OTHERS_LIMIT: Final = 0.10
"""Share of the served core that something else may use beside what is measured."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row. Shares are of one core, 0 to 1; ``report`` is the generator's."""

    name: str
    sessions: int
    report: dict[str, Any]
    cpu: machine.CpuTime
    served_busy: float
    load_busy: float
    stolen: float
    fresh_bytes: int
    idle_bytes: int
    active_bytes: int

    @property
    def core_share(self) -> float:
        """Share of the served core its process used."""
        seconds: float = self.report["seconds"]
        return self.cpu.seconds / seconds

    @property
    def frame_us(self) -> float:
        """CPU a frame the clients sent, replies included, in µs."""
        return self.cpu.seconds * 1e6 / self._frames

    @property
    def frame_kernel_us(self) -> float:
        """The part of ``frame_us`` that is the kernel's."""
        return self.cpu.system_seconds * 1e6 / self._frames

    @property
    def _frames(self) -> int:
        return max(1, int(self.report["sent"]))

    @property
    def p99_ms(self) -> float | None:
        """Added latency of a partial Turn."""
        value: float | None = self.report["latency"]["p99_ms"]
        return value

    @property
    def void(self) -> str:
        """Why the run says nothing, empty when it does: the load was the limit, or was not what it should be."""
        if self.load_busy > machine.BUSY_LIMIT:
            return f"void: load core {self.load_busy:.0%} busy"
        others = self.served_busy - self.core_share
        if others > OTHERS_LIMIT:
            return f"void: others use {others:.0%} of the served core"
        lag = self.report["lag"]["p99_ms"]
        if lag is not None and lag > LAG_LIMIT_MS:
            return f"void: generator {lag} ms late"
        return ""

    @property
    def failures(self) -> str:
        """What went wrong for clients, empty when nothing did."""
        report = self.report
        parts = [f"{report[name]} {name}" for name in ("lost", "missing", "stalls") if report[name]]
        return ", ".join(parts + report["errors"])


def run(child: processes.Child, sessions: int, *arguments: str, logs: Path, seconds: float) -> Result:
    """Load ``child`` with ``sessions``; it must serve WebSockets where it announced ``gateway``."""
    port = child.announced["gateway"].rpartition(":")[2]
    options = ["--port", port, "--sessions", str(sessions), "--seconds", str(seconds), *arguments]
    with processes.generator(*options, logs=logs) as generator:
        generator.until("warmed")
        fresh = machine.rss_bytes(child.pid)
        generator.go()
        generator.until("connected")
        idle = machine.rss_bytes(child.pid)
        generator.go()
        generator.until("window_start")
        cpu = machine.cpu_time(child.pid)
        served, load = (machine.CoreTime.now(core) for core in (machine.SERVED_CORE, machine.LOAD_CORE))
        generator.until("window_end")
        used = machine.cpu_time(child.pid) - cpu
        served_now, load_now = (machine.CoreTime.now(core) for core in (machine.SERVED_CORE, machine.LOAD_CORE))
        active = machine.rss_bytes(child.pid)
        report = generator.until("report")
        child.check()
    return Result(
        name=child.name,
        sessions=sessions,
        report=report,
        cpu=used,
        served_busy=served_now.busy_share(served),
        load_busy=load_now.busy_share(load),
        stolen=max(served_now.stolen_share(served), load_now.stolen_share(load)),
        fresh_bytes=fresh,
        idle_bytes=idle,
        active_bytes=active,
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def ms(value: float | None) -> str:
    """Show a time in milliseconds."""
    return "-" if value is None else f"{value:.1f}"


def save(path: Path, results: Sequence[Result]) -> None:
    """Write every figure of the runs as JSON."""
    facts = [
        {
            "name": result.name,
            "sessions": result.sessions,
            "core_share": result.core_share,
            "frame_us": result.frame_us,
            "frame_kernel_us": result.frame_kernel_us,
            "served_busy": result.served_busy,
            "load_busy": result.load_busy,
            "stolen": result.stolen,
            "fresh_bytes": result.fresh_bytes,
            "idle_bytes": result.idle_bytes,
            "active_bytes": result.active_bytes,
            "void": result.void,
            "generator": result.report,
        }
        for result in results
    ]
    path.write_text(json.dumps({"machine": machine.describe(), "results": facts}, indent=2) + "\n", encoding="utf-8")
