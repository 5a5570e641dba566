"""What runs of a cluster in the engine: its nodes' containers and its network, whoever knows about them."""

from dataclasses import dataclass
from pathlib import Path

from devcluster.cluster_state import network
from devcluster.docker import Docker, rows
from devcluster.errors import DevError

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
ROLE_LABEL = "io.x-k8s.kind.role"
NETWORK_LABEL = "streamstack.dev/cluster"
LOG_LINES = "300"


@dataclass(frozen=True, slots=True)
class NodeContainer:
    """A node's container: its state as Docker names it ("running", "exited"), the networks it is on."""

    name: str
    role: str
    state: str
    networks: tuple[str, ...]


def containers(docker: Docker, cluster: str) -> list[NodeContainer]:
    """Return the nodes of a cluster, the control plane first."""
    template = f'{{{{.Names}}}}\t{{{{.Label "{ROLE_LABEL}"}}}}\t{{{{.State}}}}\t{{{{.Networks}}}}'
    output = docker.capture("ps", "--all", "--no-trunc", "--filter", f"label={CLUSTER_LABEL}={cluster}",
                            "--format", template)  # fmt: skip
    found = []
    for row in rows(output):
        name, role, state, networks = row.split("\t")
        found.append(NodeContainer(name, role, state, tuple(networks.split(","))))
    return sorted(found, key=lambda node: (node.role, node.name))


def require_ours(nodes: list[NodeContainer], cluster: str) -> None:
    """Refuse to touch a cluster that somebody made with kind itself: its nodes are on another network than ours."""
    for node in nodes:
        if network(cluster) not in node.networks:
            raise DevError(
                f"container {node.name} belongs to a kind cluster named {cluster} that was not made by this command "
                f"(it is on network {', '.join(node.networks)}, expected {network(cluster)})",
                do=f"choose another --name, or remove that one: kind delete cluster --name {cluster}",
            )


def create_network(docker: Docker, cluster: str) -> None:
    """Make a cluster's network (kind would make one of that name, and never remove it)."""
    default = docker.capture("network", "inspect", "bridge", "--format",
                             '{{index .Options "com.docker.network.driver.mtu"}}').strip()  # fmt: skip
    mtu = ("--opt", f"com.docker.network.driver.mtu={default}") if default.isdigit() else ()
    docker.capture("network", "create", "--driver=bridge", f"--label={NETWORK_LABEL}={cluster}", *mtu, network(cluster))


def network_exists(docker: Docker, cluster: str) -> bool:
    """Tell whether a cluster's network is there."""
    name = network(cluster)
    return bool(rows(docker.capture("network", "ls", "--quiet", "--filter", f"name=^{name}$")))


def anything(docker: Docker, cluster: str) -> bool:
    """Tell whether anything of a cluster is in the engine."""
    return bool(containers(docker, cluster)) or network_exists(docker, cluster)


def remove(docker: Docker, cluster: str) -> None:
    """Remove a cluster's nodes with their volumes, and its network; nothing there is no error."""
    nodes = containers(docker, cluster)
    require_ours(nodes, cluster)
    if nodes:
        docker.capture("rm", "--force", "--volumes", *(node.name for node in nodes), timeout_seconds=180)
    if network_exists(docker, cluster):
        docker.capture("network", "rm", network(cluster))


def keep_logs(docker: Docker, cluster: str, folder: Path) -> None:
    """Keep what the nodes say about themselves, before they go: their console, and kubelet's and containerd's log."""
    folder.mkdir(parents=True, exist_ok=True)
    for node in containers(docker, cluster):
        console = docker.attempt("logs", "--tail", LOG_LINES, node.name)
        journal = docker.attempt("exec", node.name, "journalctl", "--no-pager", "--lines", LOG_LINES)
        (folder / f"node-{node.name}.log").write_text("".join((*console[1:], *journal[1:])))
