"""What the development cluster costs: tools, images, `up`, `load`, `down` in seconds; memory and CPU while idle.

    STREAMSTACK_CACHE=/tmp/figures python hack/bench/cluster_figures.py     # cold: an empty folder; again: warm

Go's own caches and Debian's packages are the machine's: begin with `go clean -cache -modcache` to count them in.
An engine and a cluster (`figures`) are begun and ended by it; an engine that answers is used.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from devcluster import cluster, gotools, node_image, product_images, versions
from devcluster.cache import Cache
from devcluster.cluster import ClusterRequest
from devcluster.docker import Docker, rows
from devcluster.engine import ensure_engine, find_engine, stop_engine
from devcluster.steps import Steps

NAME = "figures"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    began = time.monotonic()
    yield
    print(f"{what:<44} {time.monotonic() - began:8.1f} s", flush=True)


def idle(docker: Docker, nodes: int, *, samples: int) -> None:
    """Print the memory and CPU of a cluster's nodes, the median of some samples of the engine's statistics."""
    names = [f"{NAME}-control-plane", *(f"{NAME}-worker{n if n > 1 else ''}" for n in range(1, nodes))]
    cores, mebibytes = [], []
    for _ in range(samples):
        lines = rows(docker.capture("stats", "--no-stream", "--format", "{{.CPUPerc}} {{.MemUsage}}", *names))
        found = [re.match(r"([\d.]+)% ([\d.]+)([KMG]iB)", line) for line in lines]
        cores.append(sum(float(one[1]) / 100 for one in found if one))
        mebibytes.append(sum(float(one[2]) * UNITS[one[3]] / 2**20 for one in found if one))
    print(f"{'idle: cores':<44} {statistics.median(cores):8.2f}")
    print(f"{'idle: memory':<44} {statistics.median(mebibytes):8.0f} MiB")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--samples", type=int, default=20, help="of the idle cluster, about two seconds each")
    options = parser.parse_args()
    cache = Cache()
    steps = Steps(cache.logs / "figures")
    began_engine = find_engine(cache) is None
    with timed("engine"):
        docker = ensure_engine(cache, steps=steps)
    try:
        with timed("tools: all programs from Go modules"):
            for name in gotools.TOOLS:
                gotools.build(name, cache=cache, steps=steps)
        with timed("node image"):
            node_image.node_image(docker, version=versions.KUBERNETES, cache=cache, steps=steps)
        with timed("product images"):
            wanted = product_images.selected([], everything=False)
            built = product_images.build(wanted, docker=docker, cache=cache, steps=steps)
        print(product_images.table(built))
        with timed(f"up, {options.nodes} nodes"):
            cluster.up(ClusterRequest(NAME, nodes=options.nodes), docker=docker, cache=cache, steps=steps)
        try:
            with timed("up again"):
                cluster.up(ClusterRequest(NAME), docker=docker, cache=cache, steps=steps)
            references = [image.reference for image in built]
            with timed(f"load {len(references)} images"):
                cluster.load(NAME, references, docker=docker, cache=cache, steps=steps)
            with timed("load again"):
                cluster.load(NAME, references, docker=docker, cache=cache, steps=steps)
            idle(docker, options.nodes, samples=options.samples)
        finally:
            with timed("down"):
                cluster.down(NAME, docker=docker, cache=cache, steps=steps)
    finally:
        if began_engine:
            with timed("engine down"):
                stop_engine(cache, steps=steps)


if __name__ == "__main__":
    main()
