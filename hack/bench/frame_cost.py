"""What an inbound 50 ms frame costs the gateway, and where: socket, session, turns and link, each by difference.

    python hack/bench/frame_cost.py [--sessions 500] [--seconds 10]

Every step serves the same load with one layer more of the gateway's own code (``layers.py``); the last one is the
gateway itself with a real ASR server.
"""

import argparse
import contextlib

import layers
import machine
import measure
import processes


def main() -> None:
    """Measure every depth in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    machine.prepare()
    print(machine.describe())
    print(f"{options.sessions} sessions, {options.seconds:g} s each; µs of CPU a frame, replies included\n")
    rows = [("layer", "µs a frame", "this layer", "kernel", "p50 ms", "p99 ms", "note")]
    before = 0.0
    with processes.folder() as logs:
        for layer in (*layers.LAYERS, "link"):
            with contextlib.ExitStack() as running:
                if layer == "link":
                    child = running.enter_context(processes.gateway(options.sessions, logs=logs))
                else:
                    command = processes.script("layers.py", layer)
                    child = running.enter_context(
                        processes.announcing(layer, command, core=machine.SERVED_CORE, logs=logs)
                    )
                result = measure.run(child, options.sessions, logs=logs, seconds=options.seconds)
            latency = result.report["latency"]
            # The first two layers answer nothing, so nothing can be missing.
            failures = result.failures if layer in {"turns", "link"} else ""
            rows.append(
                (
                    layer,
                    f"{result.frame_us:.1f}",
                    f"{result.frame_us - before:+.1f}",
                    f"{result.frame_kernel_us:.1f}",
                    measure.ms(latency["p50_ms"]),
                    measure.ms(latency["p99_ms"]),
                    "; ".join(filter(None, (result.void, failures))),
                )
            )
            before = result.frame_us
    print(measure.table(rows))


if __name__ == "__main__":
    main()
