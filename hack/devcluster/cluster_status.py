"""How a cluster is, in lines for a person."""

from dataclasses import dataclass

from devcluster import cluster_nodes, ingress
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.kube import Kube


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What a person reads, and whether everything works."""

    lines: list[str]
    healthy: bool


def status(facts: ClusterFacts, *, docker: Docker | None) -> ClusterStatus:
    """Ask a kind cluster's nodes, its API server and its ingress."""
    head = f"{facts.name}: kind, Kubernetes {facts.kubernetes}, {facts.nodes} nodes of {facts.node_image}"
    if docker is None:
        return ClusterStatus([head, "  its Docker engine does not answer"], healthy=False)
    if not facts.ready:
        return ClusterStatus([head, "  being made now, or left half made"], healthy=False)
    containers = cluster_nodes.containers(docker, facts.name)
    ready = _readiness(facts)
    answers = ingress.answers(facts.ingress_port)
    nodes = [f"  {node.name}: {node.state}, {ready.get(node.name, 'unknown to the API server')}" for node in containers]
    lines = [
        head,
        *nodes,
        f"  ingress: https://127.0.0.1:{facts.ingress_port} {'answers' if answers else 'does not answer'}",
        f"  fake GPUs per node: {facts.fake_gpus}",
        f"  kubeconfig: {facts.kubeconfig}",
    ]
    healthy = answers and len(containers) == facts.nodes and all(ready.get(node.name) == "Ready" for node in containers)
    return ClusterStatus(lines, healthy=healthy)


def _readiness(facts: ClusterFacts) -> dict[str, str]:
    """Return "Ready" or "not ready" by the name of each node that the API server tells of."""
    paths = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    code, output, _ = Kube(facts.kubectl, facts.kubeconfig).attempt(
        "get", "nodes", f"--output=jsonpath={paths}", "--request-timeout=5s", timeout_seconds=15
    )
    pairs = (line.split() for line in output.splitlines() if code == 0)
    return {pair[0]: "Ready" if pair[1:] == ["True"] else "not ready" for pair in pairs if pair}
