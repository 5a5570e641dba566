"""What the operator takes: from `kubectl apply` to the first word, memory, API calls, and how soon it acts.

    python hack/bench/operator_figures.py                   # on the cluster that `make e2e KEEP=1` leaves
    python hack/bench/operator_figures.py --control-plane   # 200 stacks on a control plane alone; root

The first installs the operator anew, with the images that are on the nodes, and takes it away again.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ("", "hack", "tests"))

import many_stacks
from e2e.support.installed_operator import Helm, Operator, installed
from e2e.support.speaker import speaking
from e2e.support.stack import Stack, make, own_namespace
from operator_metrics import Samples, calls, megabytes, samples, say

from devcluster import cluster, gotools
from devcluster.cache import Cache
from devcluster.steps import Steps


async def started(operator: Operator, folder: Path) -> tuple[float, float]:
    """Apply a stack in a new namespace; seconds to Ready, and to the first sentence that came back to a client."""
    async with own_namespace(operator) as namespace:
        began = time.monotonic()
        stack = await make(operator, folder, namespace=namespace, ready=False)
        await stack.ready()
        ready = time.monotonic() - began
        await stack.answers()
        async with speaking(stack.endpoint):
            return ready, time.monotonic() - began


async def idle(operator: Operator, stack: Stack, *, seconds: float) -> None:
    """Let a stack be; what the operator asks the API server all the same, and what it weighs."""
    await stack.ready()
    before, began = figures(operator), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed = figures(operator), time.monotonic() - began
    say("operator, one idle stack: memory", megabytes(after))
    for what, number in sorted(calls(before, after).items()):
        say(f"  API calls a minute: {what}", f"{number * 60 / passed:.2f}")


def figures(operator: Operator) -> Samples:
    """Return the operator's metrics by name and labels."""
    return samples(operator.metrics())


async def on_cluster(operator: Operator, folder: Path, *, times: int, idle_seconds: float) -> None:
    """Measure everything that needs real pods."""
    measured = [await started(operator, folder) for _ in range(times)]
    for what, seconds in zip(("Ready", "first transcript"), zip(*measured, strict=True), strict=True):
        shown = f"{statistics.median(seconds):.1f} s (of {times}: {min(seconds):.1f} to {max(seconds):.1f})"
        say(f"`kubectl apply` to {what}", shown)
    async with own_namespace(operator) as namespace:
        stack = await make(operator, folder, namespace=namespace)
        await asyncio.sleep(30)  # what follows a start is over: the last status, the Secret's first reading
        await idle(operator, stack, seconds=idle_seconds)


async def stoppable(work: Coroutine[None, None, None]) -> None:
    """Have SIGTERM end the work as Ctrl-C does: what was started is stopped on the way out."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control-plane", action="store_true", help="many stacks without pods in place of one with")
    parser.add_argument("--cluster", default="streamstack-e2e", help="name of the cluster")
    parser.add_argument("--times", type=int, default=5, help="stacks started, one after the other")
    parser.add_argument("--stacks", type=int, default=200, help="with --control-plane")
    parser.add_argument("--changes", type=int, default=200, help="changes of each kind, with --control-plane")
    parser.add_argument("--idle-seconds", type=float, default=180.0, help="how long to look at stacks that are left be")
    options = parser.parse_args()
    if options.control_plane:
        work = many_stacks.run(options.stacks, idle_seconds=options.idle_seconds, changes=options.changes)
        asyncio.run(stoppable(work))
        return
    cache = Cache()
    steps = Steps(cache.logs / "operator-figures")
    facts = cluster.require(options.cluster, cache=cache)
    with tempfile.TemporaryDirectory(prefix="streamstack-bench-") as folder:
        helm = Helm(gotools.build("helm", cache=cache, steps=steps), facts.kubeconfig, Path(folder))
        with installed(facts, helm) as operator:
            work = on_cluster(operator, Path(folder), times=options.times, idle_seconds=options.idle_seconds)
            asyncio.run(stoppable(work))


if __name__ == "__main__":
    main()
