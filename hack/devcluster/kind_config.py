"""What kind is told about a cluster: pure, no I/O."""

import json
import re

from devcluster.errors import DevError

POD_SUBNET = "10.244.0.0/16"
INGRESS_NODE_PORT = 30443
"""Where the ingress controller's Service listens on the control plane's node (manifests/traefik.yaml)."""

MAXIMUM_NODES = 10
MAXIMUM_NAME = 30
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def kind_config(*, nodes: int, ingress_port: int, own_pod_network: bool) -> str:
    """Return a kind configuration (v1alpha4; JSON is YAML): one control plane, the other nodes are workers.

    ``ingress_port`` is published on 127.0.0.1 only. With ``own_pod_network`` kind installs none: a node image built
    here has no kindnet. kubelet is told to run on cgroup v1 as well, which it refuses from 1.35 on (KEP-5573).
    """
    port = {
        "containerPort": INGRESS_NODE_PORT, "hostPort": ingress_port, "listenAddress": "127.0.0.1", "protocol": "TCP"
    }  # fmt: skip
    control_plane = {"role": "control-plane", "extraPortMappings": [port]}
    kubelet = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    return json.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {
                "apiServerAddress": "127.0.0.1",
                "podSubnet": POD_SUBNET,
                "disableDefaultCNI": own_pod_network,
                "kubeProxyMode": "nftables",
            },
            "nodes": [control_plane, *({"role": "worker"} for _ in range(nodes - 1))],
            "kubeadmConfigPatches": [json.dumps(kubelet)],
        },
        indent=2,
    )


def require_name(name: str) -> str:
    """Return a cluster's name; it becomes a part of host names, so it has to be a DNS label, and short."""
    if len(name) > MAXIMUM_NAME or not _LABEL.fullmatch(name):
        raise DevError(
            f"cluster name {name!r} is not valid: expected at most {MAXIMUM_NAME} small letters, digits and dashes, "
            "with a letter or digit at both ends",
            do="choose another --name",
        )
    return name


def require_nodes(nodes: int) -> int:
    """Return a number of nodes between 1 and :data:`MAXIMUM_NODES`."""
    if not 1 <= nodes <= MAXIMUM_NODES:
        raise DevError(f"--nodes {nodes} is not valid: expected 1 to {MAXIMUM_NODES}", do="choose another number")
    return nodes


def require_version(version: str) -> str:
    """Return a Kubernetes version as its tag is written ("v1.36.3")."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", version):
        raise DevError(f"--k8s-version {version!r} is not valid: expected a release as in v1.36.3", do="name one")
    return version
