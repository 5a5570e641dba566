"""How long a client waits for ``Begin`` while others stream: arrivals at a steady rate, then many at once.

    python hack/bench/begin_latency.py [--sessions 400] [--per-second 50] [--seconds 20] [--burst 500]

The clock runs from before the TCP connect to the bytes of ``Begin``. Arrivals stream for three seconds and terminate,
so placing and ending sessions is part of the load. Pinned as in ``gateway_load.py``.
"""

import argparse
from typing import Any, Final

import machine
import measure
import processes

P99_LIMIT_MS: Final = 50.0
"""Invariant "fast-begin"; for the arrivals, not for the burst."""

LIFE_SECONDS: Final = 3.0


def main() -> None:
    """Run and print."""
    options = _options()
    arrivals = int(options.per_second * options.seconds)
    machine.prepare()
    print(machine.describe(), flush=True)
    print(
        f"{options.sessions} sessions stream; {options.per_second:g} arrive a second for {options.seconds:g} s, "
        f"each stays {LIFE_SECONDS:g} s; then {options.burst} at once\n"
    )
    with processes.folder() as logs, processes.gateway(options.sessions + arrivals + options.burst, logs=logs) as child:
        result = measure.run(
            child,
            options.sessions,
            *("--arrivals", str(options.per_second), "--life", str(LIFE_SECONDS), "--burst", str(options.burst)),
            logs=logs,
            seconds=options.seconds,
        )
    report = result.report
    rows = [
        ("what", "asked", "got", "p50 ms", "p99 ms", "max ms", "verdict"),
        _row("Begin, arrivals", arrivals, report["arrivals"], _verdict(result)),
        _row("Begin, burst", options.burst, report["burst"], result.void or "reported apart"),
        _row("arrival later than planned", arrivals, report["arrivals_late"], "generator"),
        _row("Turn of those that stream", 0, report["latency"], "beside the arrivals"),
    ]
    print(measure.table(rows))
    print(
        f"\ngateway core {result.core_share:.2f}, load core {result.load_busy:.2f}, stolen {result.stolen:.2f}, "
        f"generator lag p99 {measure.ms(report['lag']['p99_ms'])} ms; {result.failures or 'nothing lost'}"
    )


def _row(what: str, asked: int, spread: dict[str, Any], verdict: str) -> tuple[str, ...]:
    times = (measure.ms(spread[name]) for name in ("p50_ms", "p99_ms", "max_ms"))
    return (what, str(asked or ""), str(spread["count"]), *times, verdict)


def _verdict(result: measure.Result) -> str:
    if result.void:
        return result.void
    p99 = result.report["arrivals"]["p99_ms"]
    return "ok" if p99 is not None and p99 <= P99_LIMIT_MS else f"broke: p99 above {P99_LIMIT_MS:g} ms"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=400, help="sessions that stream all the time")
    parser.add_argument("--per-second", type=float, default=50.0, help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long they arrive")
    parser.add_argument("--burst", type=int, default=500, help="sessions at once at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
