"""What a chunk costs the front of an ASR server, without a model: the link, sessions, admission, and the way back.

    python hack/bench/front_cost.py [--sessions 1500] [--seconds 15] [--engine null]

Core 0 has the ASR server, core 1 the load: sessions of ``streamstack calibrate``, in real time, each begun at its own
moment, all on one link as a gateway has it. Counted is the CPU time of the server's process, all threads, over the
chunks that were due within the window; turns end every five seconds and are in it.
"""

import argparse
import asyncio
import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import machine
import measure
import processes

from streamstack_cli import stack, wav
from streamstack_cli.calibration import load
from streamstack_cli.calibration.command import RECORDING
from streamstack_cli.calibration.link import Server
from streamstack_cli.calibration.measures import judge
from streamstack_common.calibration import Level, Target
from streamstack_common.credential import Credential

NO_TIME: Final = machine.CpuTime(0.0, 0.0)
TARGET: Final = Target(percentile=95, latency_ms=300, late_chunk_rate=0.001)
SETTLE_SECONDS: Final = 5.0
TURN_SECONDS: Final = 5.0
HEADING: Final = (
    "engine", "chunk ms", "sessions", "chunks/s", "µs/chunk", "kernel", "core", "core busy", "p50 ms", "p99 ms", "late",
    "lag p99", "load core", "verdict",
)  # fmt: skip


@dataclass(slots=True)
class Window:
    """What the server and both cores did between the window's ends."""

    pid: int
    cpu: machine.CpuTime = NO_TIME
    served: float = 0.0
    load: float = 0.0
    _before: tuple[machine.CpuTime, machine.CoreTime, machine.CoreTime] | None = None

    def open(self) -> None:
        """Note where things stand."""
        self._before = self._now()

    def close(self) -> None:
        """Take the difference."""
        assert self._before is not None  # noqa: S101 - a window opens before it closes
        (cpu, served, load), (cpu_now, served_now, load_now) = self._before, self._now()
        self.cpu = cpu_now - cpu
        self.served = served_now.busy_share(served)
        self.load = load_now.busy_share(load)

    def _now(self) -> tuple[machine.CpuTime, machine.CoreTime, machine.CoreTime]:
        cores = (machine.CoreTime.now(core) for core in (machine.SERVED_CORE, machine.LOAD_CORE))
        served, load = cores
        return machine.cpu_time(self.pid), served, load


async def run(address: str, credential_file: Path, sessions: int, plan: load.LevelPlan) -> tuple[int, str, Level]:
    """Measure once; the engine's chunk and name, and the level."""
    server = Server(address, Credential(credential_file))
    facts = await server.describe()
    plan = replace(plan, model=facts.models[0], chunk_ms=facts.chunk_ms)
    return facts.chunk_ms, facts.engine, judge(sessions, await load.measure(server, sessions, plan), TARGET)


def row(engine: str, chunk_ms: int, level: Level, window: Window, seconds: float) -> tuple[str, ...]:
    """One line of the table."""
    chunks = max(1, level.chunks)
    share = window.cpu.seconds / seconds
    void = ""
    if window.served - share > measure.OTHERS_LIMIT:
        void = f"void: others use {window.served - share:.0%} of the served core"
    elif level.driver_lag_p99_ms > measure.LAG_LIMIT_MS:
        void = f"void: load {level.driver_lag_p99_ms:g} ms late"
    latency = level.latency
    return (
        engine,
        str(chunk_ms),
        str(level.sessions),
        f"{level.chunks / seconds:.0f}",
        f"{window.cpu.seconds * 1e6 / chunks:.1f}",
        f"{window.cpu.system_seconds * 1e6 / chunks:.1f}",
        f"{share:.2f}",
        f"{window.served:.2f}",
        *((measure.ms(latency.p50_ms), measure.ms(latency.p99_ms)) if latency else ("-", "-")),
        f"{level.late_chunk_rate:.2%}",
        measure.ms(level.driver_lag_p99_ms),
        f"{window.load:.2f}",
        void or level.reason or "ok",
    )


def main() -> None:
    """Run and print."""
    options = _options()
    machine.prepare()
    print(machine.describe(), flush=True)
    print(f"one link, recorded speech, turns of {TURN_SECONDS:g} s; windows of {options.seconds:g} s\n", flush=True)
    rows: list[tuple[str, ...]] = [HEADING]
    with processes.folder() as logs:
        rows += [_measured(options, sessions, logs) for sessions in options.sessions]
    print(measure.table(rows))


def _measured(options: argparse.Namespace, sessions: int, logs: Path) -> tuple[str, ...]:
    credential = logs / "credential"
    credential.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
    run_folder = stack.RunFolder(credential, credential, credential, credential, logs)
    chosen = stack.StackOptions(
        engine=options.engine,
        model=options.model,
        slots=sessions,
        stop_grace_seconds=1,
        settings=tuple(stack.Setting.parse(text) for text in options.set),
    )
    spec = stack.asr(chosen, run_folder, os.environ)
    with processes.service(spec, core=machine.SERVED_CORE, logs=logs) as child:
        window = Window(child.pid)
        plan = load.LevelPlan(
            model="",
            pcm=wav.read(RECORDING).data,
            chunk_ms=1,
            settle_seconds=SETTLE_SECONDS,
            seconds=options.seconds,
            turn_seconds=TURN_SECONDS,
            target_seconds=TARGET.latency_ms / 1000,
            window_opened=window.open,
            window_closed=window.close,
        )
        chunk_ms, engine, level = asyncio.run(run(child.announced["asr"], credential, sessions, plan))
        child.check()
    return row(engine, chunk_ms, level, window, options.seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1500], help="numbers of concurrent sessions")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the window")
    parser.add_argument("--engine", default="null", help="null (default), or another that costs little")
    parser.add_argument("--model", type=Path, help="model folder, for an engine that reads one")
    parser.add_argument("--set", action="append", default=[], metavar="asr.NAME=VALUE", help="a setting of the server")
    return parser.parse_args()


if __name__ == "__main__":
    main()
