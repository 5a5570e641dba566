"""`hack/node-image build | name`: the image that a kind node runs, from Go modules and Debian packages."""

import argparse
import sys
from collections.abc import Sequence

from devcluster import node_image, versions
from devcluster.cache import Cache
from devcluster.commands import raise_on_signals
from devcluster.engine import ensure_engine, explained
from devcluster.errors import DevError, Interrupted
from devcluster.machine import require_architecture
from devcluster.steps import Steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did its work, 1 with an error on standard error, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="hack/node-image", description=__doc__)
    parser.add_argument(
        "command",
        choices=("build", "name"),
        help=f"build: make it for Kubernetes {versions.KUBERNETES}, if the engine has none of this content; "
        "name: print what it is, or would be, called",
    )
    options = parser.parse_args(arguments)
    raise_on_signals()
    try:
        require_architecture()
        cache = Cache()
        if options.command == "build":
            steps = Steps(cache.logs)
            with explained(cache):
                node_image.build(ensure_engine(cache, steps=steps), cache=cache, steps=steps)
        print(node_image.built_reference())
    except DevError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"interrupted by {interrupted.signal_name}; what was begun is undone", file=sys.stderr)
        return 130
    return 0
