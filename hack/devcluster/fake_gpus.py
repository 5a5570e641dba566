"""Nodes that claim NVIDIA GPUs they do not have, so that pods which ask for one are scheduled."""

import json

from devcluster.kube import Kube

RESOURCE = "nvidia.com/gpu"


def claim(kube: Kube, *, gpus: int, resource: str = RESOURCE) -> None:
    """Let every schedulable node claim ``gpus`` GPUs, or slices of them (``resource``); 0 takes the claim away.

    An extended resource is a node's status and nothing else; kubelet keeps what others put there
    (kubernetes.io: "Advertise Extended Resources for a Node").
    """
    for node in schedulable(kube):
        kube.capture(
            "patch", "node", node, "--subresource=status", "--type=merge", f"--patch={patch(gpus, resource=resource)}"
        )


def patch(gpus: int, *, resource: str = RESOURCE) -> str:
    """Return the merge patch of a node's status."""
    amount = {resource: str(gpus) if gpus else None}
    return json.dumps({"status": {"capacity": amount, "allocatable": amount}})


def schedulable(kube: Kube) -> list[str]:
    """Return the nodes that pods are scheduled to: the workers, or the only node."""
    return [
        node["metadata"]["name"]
        for node in kube.objects("nodes")
        if not any(taint["effect"] == "NoSchedule" and taint["key"].startswith("node-role.kubernetes.io/")
                   for taint in node["spec"].get("taints", []))
    ]  # fmt: skip
