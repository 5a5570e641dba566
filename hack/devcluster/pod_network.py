"""Pods reach each other across nodes, for a node image without kindnet.

As kindnet does it: a veth pair per pod (no bridge, so nothing depends on bridge-nf), one static route per other node
(they share a layer 2), masquerading outward.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devcluster.docker import Docker
from devcluster.kind_config import POD_SUBNET
from devcluster.kube import Kube

CONFIG = "/etc/cni/net.d/10-streamstack.conflist"
RANGE_SECONDS = 50
_TABLE = "ip streamstack-pods"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name (also its container's), its address, and the range its pods get addresses from."""

    name: str
    address: str
    pods: str


def connect(docker: Docker, kube: Kube) -> None:
    """Set up the pod network on every node; doing it again repairs it (routes go when a node restarts)."""
    # The controller manager gives a node its range after it joined.
    kube.capture("wait", "--for=jsonpath={.spec.podCIDR}", "nodes", "--all", f"--timeout={RANGE_SECONDS}s")
    nodes = [node_of(item) for item in kube.objects("nodes")]

    def set_up(node: Node) -> None:
        others = [other for other in nodes if other != node]
        docker.capture("exec", "--interactive", node.name, "sh", "-s", stdin=script(node, others=others).encode())

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(set_up, nodes))


def node_of(item: dict[str, dict[str, object]]) -> Node:
    """Read a node from what the API server says about it."""
    addresses = item["status"]["addresses"]
    assert isinstance(addresses, list)  # noqa: S101 - the API's own schema
    internal = next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
    return Node(name=str(item["metadata"]["name"]), address=internal, pods=str(item["spec"]["podCIDR"]))


def script(node: Node, *, others: list[Node]) -> str:
    """Return what a node's shell runs; running it twice changes nothing."""
    routes = "\n".join(f"ip route replace {other.pods} via {other.address}" for other in others)
    return f"""set -eu
mtu=$(cat /sys/class/net/eth0/mtu)
cat > {CONFIG}.new <<EOF
{cni_config(node.pods)}
EOF
mv {CONFIG}.new {CONFIG}
{routes}
nft -f - <<EOF
table {_TABLE}
delete table {_TABLE}
table {_TABLE} {{
  chain outward {{
    type nat hook postrouting priority srcnat;
    ip saddr {POD_SUBNET} ip daddr != {POD_SUBNET} masquerade
  }}
}}
EOF
"""


def cni_config(pods: str) -> str:
    """Return a node's CNI configuration; `$mtu` stands for a number, and addresses are forgotten when it restarts."""
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses, "mtu": "$mtu"},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    text = json.dumps({"cniVersion": "0.4.0", "name": "streamstack", "plugins": plugins}, indent=2)
    return text.replace('"$mtu"', "$mtu")
