"""A cluster of the name asked for may be there already: whole, stopped, half made, stale, or somebody else's."""

from dataclasses import replace

from devcluster import cluster_nodes, cluster_state, kind_process
from devcluster.cache import Cache
from devcluster.cluster_making import ClusterRequest
from devcluster.cluster_nodes import NodeContainer
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.steps import Steps
from devcluster.undoing import uninterrupted


def usable(request: ClusterRequest, *, docker: Docker, cache: Cache, steps: Steps) -> ClusterFacts | None:
    """Return the cluster of this name if it can be kept; ``None`` when there is none, or none any more.

    One that was being made when its command was killed, or whose nodes are gone, is removed. Nodes that stopped, with
    the engine or the machine, are started again. What may hold somebody's work is refused, with what to do.
    """
    name = request.name
    if cluster_state.sort_of(cache, name) == cluster_state.CONTROL_PLANE:
        raise DevError(
            f"{name} is a control plane alone, not a kind cluster",
            do=f"hack/cluster down --name {name} first, or choose another --name",
        )
    facts = cluster_state.load(cache, name)
    if facts is not None and not facts.ready:
        kind_process.settle(facts)
    nodes = cluster_nodes.containers(docker, name)
    cluster_nodes.require_ours(nodes, name)
    if facts is not None and facts.ready and nodes:
        _require_complete(facts, nodes)
        facts = as_asked(facts, request)
        _start_stopped(nodes, docker=docker, steps=steps)
        return facts
    if facts is None and any(node.state == "running" for node in nodes):
        raise DevError(
            f"cluster {name} runs ({len(nodes)} nodes), and what was known about it is not in {cache.root}",
            do=f"set STREAMSTACK_CACHE to the folder it was made with, or remove it: hack/cluster down --name {name}",
        )
    if facts is not None or cluster_nodes.anything(docker, name):
        reason = "stale" if facts is None or facts.ready else "half made"
        with steps.step(f"removing what is left of cluster {name}, which is {reason}"), uninterrupted():
            cluster_nodes.remove(docker, name)
            cluster_state.forget(cache, name)
    return None


def as_asked(facts: ClusterFacts, request: ClusterRequest) -> ClusterFacts:
    """Refuse what cannot be changed while a cluster runs; take over what can."""
    fixed = {
        "--nodes": (request.nodes, facts.nodes),
        "--k8s-version": (request.kubernetes, facts.kubernetes),
        "--ingress-port": (request.ingress_port, facts.ingress_port),
    }
    for option, (asked, there) in fixed.items():
        if asked is not None and asked != there:
            raise DevError(
                f"cluster {facts.name} is up with {option} {there}, asked for {asked}",
                do=f"hack/cluster down --name {facts.name} first, or choose another --name",
            )
    return facts if request.fake_gpus is None else replace(facts, fake_gpus=request.fake_gpus)


def _require_complete(facts: ClusterFacts, nodes: list[NodeContainer]) -> None:
    if len(nodes) != facts.nodes:
        raise DevError(
            f"cluster {facts.name} has {facts.nodes} nodes, and {len(nodes)} are there: "
            f"{', '.join(node.name for node in nodes)}",
            do=f"begin anew: hack/cluster down --name {facts.name} && hack/cluster up --name {facts.name}",
        )


def _start_stopped(nodes: list[NodeContainer], *, docker: Docker, steps: Steps) -> None:
    """Start what stopped; a node finds its new address by itself (kind's entrypoint), routes are set up anew."""
    paused = [node.name for node in nodes if node.state == "paused"]
    stopped = [node.name for node in nodes if node.state not in {"running", "paused"}]
    for command, names in (("unpause", paused), ("start", stopped)):
        if names:
            with steps.step(f"starting what stopped: {', '.join(names)}"):
                docker.capture(command, *names, timeout_seconds=120)
