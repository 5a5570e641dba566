"""Deployments, and what a kubelet would have said of their pods: a control plane alone has none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.namespaces import Api
from support.waiting import eventually

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def deployment(name: str, *, replicas: int | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A Deployment of pods labelled ``app: NAME`` and ``labels``; it selects by the former alone."""
    selected = {"app": name}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": selected},
        "template": {
            "metadata": {"labels": selected | (labels or {})},
            "spec": {
                "terminationGracePeriodSeconds": 0,  # nobody is there to stop a container
                "containers": [{"name": "main", "image": "none"}],
            },
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def pods_of(api: Api, name: str, *, count: int) -> list[dict[str, Any]]:
    """Wait until ``count`` pods carry ``app: NAME``; in the order of their names."""
    found: list[dict[str, Any]] = []

    async def are_there() -> bool:
        found[:] = await api.list("v1", "Pod", f"app={name}")
        return len(found) == count

    await eventually(are_there)
    return sorted(found, key=lambda pod: pod["metadata"]["name"])


@asynccontextmanager
async def made_node(api: Api) -> AsyncIterator[dict[str, Any]]:
    """A node by name alone. Endpoints are made of pods only whose node is there (endpointslice reconciler)."""
    made = await api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": api.namespace}})
    try:
        yield made
    finally:
        await api.delete(made)


async def run(api: Api, pod: dict[str, Any], *, on: dict[str, Any], ready: bool, address: str = "192.0.2.1") -> None:
    """Say what a scheduler and a kubelet would have said: the pod runs on a node, and whether it is ready."""
    target = {"apiVersion": "v1", "kind": "Node", "name": on["metadata"]["name"]}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}, "target": target}
    await api.create_under(pod, "binding", binding)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [condition]}
    await api.patch(pod, {"status": status}, subresource="status")
