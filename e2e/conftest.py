"""Tier 3: a Docker engine, the product's images, Compose and a cluster, each brought up when a test asks for it.

``STREAMSTACK_E2E_CLUSTER`` names the cluster (default ``streamstack-e2e``). What was there before, engine or cluster,
is used as it is and stays; what was brought up here is taken away at the end, but not with ``KEEP=1``, so that the next
run takes seconds.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import cluster as clusters
from devcluster import cluster_state, gotools, product_images
from devcluster.cache import Cache
from devcluster.cluster_state import ClusterFacts
from devcluster.compose_plugin import ensure_compose
from devcluster.docker import Docker
from devcluster.engine import ensure_engine, find_engine, stop_engine
from devcluster.steps import Steps

if TYPE_CHECKING:
    from e2e.support.installed_operator import Operator

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that e2e.support can be imported from any test here

CLUSTER = os.environ.get("STREAMSTACK_E2E_CLUSTER", "streamstack-e2e")
KEEP = os.environ.get("KEEP", "") not in {"", "0"}

TEST_SECONDS = 3600
"""The first test that needs a cluster may build one from nothing; a hung test is ended by its own deadlines."""


def pytest_configure() -> None:
    """Have SIGTERM end the run as Ctrl-C does, so that what fixtures brought up is taken down again.

    SIGINT too, which a shell in the background hands on ignored, to the programs that tests interrupt as well.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Give tests here the time that engine, images and cluster take."""
    for item in items:
        if item.path.is_relative_to(ROOT / "e2e"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def cache() -> Cache:
    """Return the development tools' cache folder."""
    return Cache()


@pytest.fixture(scope="session")
def steps(cache: Cache) -> Steps:
    """Return progress that goes past pytest's capture: bringing things up takes minutes."""
    return Steps(cache.logs / "e2e", out=sys.__stderr__)


@pytest.fixture(scope="session")
def engine(cache: Cache, steps: Steps) -> Iterator[Docker]:
    """Yield a Docker engine that answers; one that had to be started is stopped again."""
    started_here = find_engine(cache) is None
    docker = ensure_engine(cache, steps=steps)
    yield docker
    if started_here and not KEEP:
        stop_engine(cache, steps=steps)


@pytest.fixture(scope="session")
def images(engine: Docker, cache: Cache, steps: Steps) -> Sequence[str]:
    """Build the product's images from this tree; their names and tags."""
    wanted = product_images.selected([], everything=False)
    return [image.reference for image in product_images.build(wanted, docker=engine, cache=cache, steps=steps)]


@pytest.fixture(scope="session")
def compose(engine: Docker, cache: Cache, steps: Steps) -> Sequence[str]:
    """Return the command that is Compose."""
    command, _ = ensure_compose(engine, cache=cache, steps=steps)
    return command


@pytest.fixture(scope="session")
def cluster(engine: Docker, images: Sequence[str], cache: Cache, steps: Steps) -> Iterator[ClusterFacts]:
    """Yield a cluster with the product's images on its nodes."""
    made_here = cluster_state.load(cache, CLUSTER) is None
    facts = clusters.up(clusters.ClusterRequest(CLUSTER), docker=engine, cache=cache, steps=steps)
    try:
        clusters.load(CLUSTER, list(images), docker=engine, cache=cache, steps=steps)
        yield facts
    finally:
        if made_here and not KEEP:
            clusters.down(CLUSTER, docker=engine, cache=cache, steps=steps)
        else:
            steps.say(f"cluster {CLUSTER} stays up; `hack/cluster down --name {CLUSTER}` removes it")


@pytest.fixture(scope="session")
def operator(
    cluster: ClusterFacts, cache: Cache, steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Operator"]:
    """Yield the operator, installed on the cluster by helm with its chart."""
    from e2e.support.installed_operator import Helm, installed  # the path to it is set above

    helm = Helm(gotools.build("helm", cache=cache, steps=steps), cluster.kubeconfig, tmp_path_factory.mktemp("helm"))
    steps.say("installing the operator")
    with installed(cluster, helm, keep=KEEP) as it:
        yield it
