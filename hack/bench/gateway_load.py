"""How many sessions one core of gateway carries, what a frame costs beside nginx, and what memory a session takes.

    python hack/bench/gateway_load.py 500 1000 1500 [--seconds 15] [--find-limit]

Core 0 has the gateway and, in its own runs, nginx; core 1 has the generator and the ASR server with engine ``null``
(or, behind nginx, an echo server). Every row is a fresh gateway. ``docs/benchmarks.md`` says how to read the table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import machine
import measure
import nginx
import processes
from measure import Result

P99_LIMIT_MS: Final = 25.0
"""Added latency that a run must keep (issue "Figures")."""

LIMIT_STEP: Final = 50
"""How exactly ``--find-limit`` looks, in sessions."""

HEADING: Final = (
    "server", "sessions", "core", "core busy", "µs/frame", "kernel", "x nginx", "p50 ms", "p99 ms", "max ms",
    "turn end p99", "lag p99", "load core", "stolen", "verdict",
)  # fmt: skip


def gateway_run(sessions: int, seconds: float, logs: Path) -> Result:
    """Load a fresh gateway."""
    with processes.gateway(sessions, logs=logs) as child:
        return measure.run(child, sessions, logs=logs, seconds=seconds)


def nginx_run(sessions: int, seconds: float, logs: Path) -> Result:
    """Load a fresh nginx."""
    with nginx.baseline(logs=logs) as child:
        return measure.run(child, sessions, logs=logs, seconds=seconds)


def verdict(result: Result) -> str:
    """Say whether the row counts, and whether the gateway kept its latency."""
    if result.void:
        return result.void
    if result.failures:
        return f"broke: {result.failures}"
    p99 = result.p99_ms
    return "ok" if p99 is not None and p99 <= P99_LIMIT_MS else f"broke: p99 above {P99_LIMIT_MS:g} ms"


def row(result: Result, floor: Result | None) -> tuple[str, ...]:
    """One line of the table; ``floor`` is nginx with as many sessions."""
    report = result.report
    latency = report["latency"]
    return (
        result.name,
        str(result.sessions),
        f"{result.core_share:.2f}",
        f"{result.served_busy:.2f}",
        f"{result.frame_us:.1f}",
        f"{result.frame_kernel_us:.1f}",
        "" if floor is None else f"{result.frame_us / floor.frame_us:.1f}",
        *(measure.ms(latency[name]) for name in ("p50_ms", "p99_ms", "max_ms")),
        measure.ms(report["turn_end"]["p99_ms"]),
        measure.ms(report["lag"]["p99_ms"]),
        f"{result.load_busy:.2f}",
        f"{result.stolen:.2f}",
        verdict(result),
    )


def memory(results: Sequence[Result]) -> str:
    """Memory of a session, idle (connected, no audio yet) and active (end of the window), over a fresh process."""
    rows: list[tuple[str, ...]] = [
        ("sessions", "fresh MiB", "idle MiB", "active MiB", "KiB per idle session", "KiB per active session")
    ]
    for result in results:
        sizes = (result.fresh_bytes, result.idle_bytes, result.active_bytes)
        totals = (f"{size / 2**20:.1f}" for size in sizes)
        each = (f"{(size - result.fresh_bytes) / result.sessions / 1024:.1f}" for size in sizes[1:])
        rows.append((str(result.sessions), *totals, *each))
    return measure.table(rows)


def find_limit(results: Sequence[Result], seconds: float, logs: Path) -> list[Result]:
    """Look between the most sessions that went well and the fewest that did not, both of ``results``.

    A void run ends the search: there the load is the limit, not the gateway.
    """
    good = max((result.sessions for result in results if verdict(result) == "ok"), default=0)
    bad = min((result.sessions for result in results if result.sessions > good and not result.void), default=0)
    looked: list[Result] = []
    while good and bad - good > LIMIT_STEP:
        middle = (good + bad) // 2 // 10 * 10
        result = gateway_run(middle, seconds, logs)
        looked.append(result)
        if result.void:
            break
        good, bad = (middle, bad) if verdict(result) == "ok" else (good, middle)
    return looked


def main() -> None:
    """Run and print."""
    options = _options()
    machine.prepare()
    print(machine.describe(), flush=True)
    print(f"frames of 50 ms in, chunks of 160 ms up, 12 Turns a 13 chunks down; windows of {options.seconds:g} s\n")
    with processes.folder() as logs:
        floors = {count: nginx_run(count, options.seconds, logs) for count in options.sessions if not options.no_nginx}
        results = [gateway_run(count, options.seconds, logs) for count in options.sessions]
        if options.find_limit:
            results += find_limit(results, options.seconds, logs)
    rows: list[tuple[str, ...]] = [HEADING]
    rows += [(*row(result, None)[:-1], result.void or result.failures or "floor") for result in floors.values()]
    rows += [row(result, floors.get(result.sessions)) for result in results]
    print(measure.table(rows))
    print(f"\n{memory(results)}")
    if options.json:
        measure.save(options.json, [*floors.values(), *results])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sessions", type=int, nargs="+", help="numbers of concurrent sessions")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each window")
    parser.add_argument("--find-limit", action="store_true", help="bisect for the most sessions that go well")
    parser.add_argument("--no-nginx", action="store_true", help="leave the baseline out")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
