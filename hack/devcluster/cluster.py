"""Kind clusters by name: up, down, and images into their nodes."""

import shutil

from devcluster import (
    cluster_found,
    cluster_making,
    cluster_nodes,
    cluster_state,
    fake_gpus,
    kind_config,
    kind_process,
    kube,
    loading,
    machine_settings,
    ports,
)
from devcluster.cache import Cache
from devcluster.cluster_making import ClusterRequest
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.machine import require_architecture
from devcluster.steps import Steps
from devcluster.undoing import uninterrupted

__all__ = ["ClusterFacts", "ClusterRequest", "down", "load", "require", "require_valid", "up"]

MAXIMUM_FAKE_GPUS = 64


def up(request: ClusterRequest, *, docker: Docker, cache: Cache, steps: Steps) -> ClusterFacts:
    """Make a cluster, or make sure that the one of this name works; returns what is known about it.

    Whatever ends a creation early, nothing of it stays but, after an error, its logs.
    """
    require_valid(request)
    with cache.lock(f"cluster-{request.name}"):
        facts = cluster_found.usable(request, docker=docker, cache=cache, steps=steps)
        if facts is None:
            return cluster_making.create(request, docker=docker, cache=cache, steps=steps)
        return cluster_making.renew(facts, docker=docker, cache=cache, steps=steps)


def down(name: str, *, docker: Docker, cache: Cache, steps: Steps) -> bool:
    """Remove a cluster and all that is known about it; tells whether there was anything."""
    kind_config.require_name(name)
    with cache.lock(f"cluster-{name}"):
        folder = cluster_state.folder(cache, name)
        if not (folder.exists() or cluster_nodes.anything(docker, name)):
            return False
        facts = cluster_state.load(cache, name)
        with steps.step(f"removing cluster {name}"), uninterrupted():
            if facts is not None and not facts.ready:
                kind_process.settle(facts)
            cluster_nodes.remove(docker, name)
            shutil.rmtree(folder, ignore_errors=True)
            machine_settings.give_back(cache)
        return True


def load(name: str, references: list[str], *, docker: Docker, cache: Cache, steps: Steps) -> list[str]:
    """Load images into the nodes that pods are scheduled to; returns those that were not there yet."""
    with cache.lock(f"cluster-{name}"):
        facts = require(name, cache=cache)
        if not references:
            return []
        nodes = fake_gpus.schedulable(kube.Kube(facts.kubectl, facts.kubeconfig))
        plural = "s" if len(nodes) > 1 else ""
        with steps.step(f"loading {' '.join(references)} into {len(nodes)} node{plural}") as log:
            return loading.load(docker, references, nodes=nodes, log=log)


def require(name: str, *, cache: Cache) -> ClusterFacts:
    """Return a cluster that is up; :class:`DevError` where it is not."""
    facts = cluster_state.load(cache, name)
    if facts is None or not facts.ready:
        others = [other for other in cluster_state.names(cache) if other != name]
        known = f"; there is {', '.join(others)}" if others else ""
        raise DevError(f"no kind cluster {name} is up{known}", do=f"hack/cluster up --name {name}")
    return facts


def require_valid(request: ClusterRequest) -> None:
    """Refuse what no cluster can be, before anything is started or built for it."""
    require_architecture()
    kind_config.require_name(request.name)
    if request.nodes is not None:
        kind_config.require_nodes(request.nodes)
    if request.kubernetes is not None:
        kind_config.require_version(request.kubernetes)
    if request.ingress_port is not None:
        ports.require_valid(request.ingress_port)
    if request.fake_gpus is not None and not 0 <= request.fake_gpus <= MAXIMUM_FAKE_GPUS:
        raise DevError(
            f"--fake-gpus {request.fake_gpus} is not valid: expected 0 to {MAXIMUM_FAKE_GPUS}",
            do="choose another number",
        )
