"""Pools on GPUs that no machine here has: what the operator makes of them, and where a real scheduler puts it."""

import io
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster import control_plane as control_planes
from devcluster import fake_gpus
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts
from devcluster.steps import Steps
from streamstack_operator.crd import crd
from support.kubelet import Kubelet
from support.namespaces import Api, own_namespace
from support.operated import Object, Operated, environment_of, stack
from support.stack_crd import establish

pytestmark = pytest.mark.control_plane

SLICE = "nvidia.com/mig-3g.40gb"
ROOM = {"cpu": "64", "memory": "512Gi", "pods": "100", "ephemeral-storage": "1Ti"}
ANYWHERE = {"tolerations": [{"operator": "Exists"}]}
"""A node without a kubelet is tainted before long."""


@pytest.fixture
def with_scheduler(tmp_path: Path) -> Iterator[ControlPlaneFacts]:
    name, cache = f"test-{secrets.token_hex(4)}", Cache()
    steps = Steps(tmp_path / "logs", out=io.StringIO())
    yield control_planes.up(name, cache=cache, steps=steps, with_scheduler=True, die_with=os.getpid())
    control_planes.down(name, cache=cache, steps=steps)


@pytest.fixture
async def place(with_scheduler: ControlPlaneFacts, tmp_path: Path) -> AsyncIterator[Operated]:
    """A namespace whose pods are placed, and run by nobody."""
    async with own_namespace(with_scheduler.kubeconfig, folder=tmp_path) as namespace:
        await establish(namespace, crd())
        await namespace.create(
            {
                "apiVersion": "node.k8s.io/v1",
                "kind": "RuntimeClass",
                "metadata": {"name": "nvidia"},
                "handler": "nvidia",
            }
        )
        yield Operated(namespace, Kubelet(namespace, {}), tmp_path, environment_of(namespace, tmp_path))


async def node(api: Api, name: str) -> Object:
    """A node with room for everything but GPUs."""
    made = await api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    return await api.patch(made, {"status": {"capacity": ROOM, "allocatable": ROOM}}, subresource="status")


async def pods(place: Operated, pool: str) -> list[dict[str, Any]]:
    return await place.namespace.list("v1", "Pod", f"streamstack.dev/pool={pool}")


def on_gpus(**fields: Any) -> dict[str, Any]:
    """A pool that a node without a kubelet may run."""
    return {"runtimeClassName": "nvidia", "placement": ANYWHERE, "sharedMemory": "1Gi"} | fields


async def test_pods_of_gpu_pools_wait_for_a_node_with_what_they_ask_for_and_come_to_it(place: Operated) -> None:
    wanted = stack(
        pools=[
            on_gpus(name="english", gpu={"count": 2}, modelVolume={"claimName": "models"}, chunkMs=160),
            on_gpus(name="pro", gpu={"resourceName": SLICE}, precision="Bf16", replicas=2),
            on_gpus(name="on-cpus", model="own", gpu={"count": 0}),
        ]
    )
    api = place.namespace
    await api.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "storageClassName": "",
                "volumeName": "models",
                "resources": {"requests": {"storage": "5Gi"}},
            },
        }
    )
    bare, whole, sliced = [await node(api, name) for name in ("bare", "whole", "sliced")]
    await api.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "models"},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadOnlyMany"],
                "hostPath": {"path": "/srv/models"},
                "claimRef": {"name": "models", "namespace": api.namespace},
            },
        }
    )
    await place.give_license()

    async def is_refused(pool: str, resource: str) -> bool:
        conditions = [it for pod in await pods(place, pool) for it in pod["status"].get("conditions", [])]
        return any(f"Insufficient {resource}" in it.get("message", "") for it in conditions)

    async def are_on(pool: str, where: Object, count: int) -> bool:
        nodes = [pod["spec"].get("nodeName") for pod in await pods(place, pool)]
        return nodes == [where["metadata"]["name"]] * count

    async with place.operator():
        await place.apply(wanted)
        await place.until(lambda: is_refused("english", fake_gpus.RESOURCE))
        await place.until(lambda: is_refused("pro", SLICE))
        said = await place.settles(wanted, "ASRAvailable", status="False", reason="Unschedulable")
        assert "Insufficient nvidia.com/" in said["message"]
        await api.patch(whole, json.loads(fake_gpus.patch(4)), subresource="status")
        await place.until(lambda: are_on("english", whole, 1))
        await api.patch(sliced, json.loads(fake_gpus.patch(2, resource=SLICE)), subresource="status")
        await place.until(lambda: are_on("pro", sliced, 2))

    (english,) = await pods(place, "english")
    assert limits(english) == {"memory": "16Gi", "nvidia.com/gpu": "2"}
    assert {limits(pod)[SLICE] for pod in await pods(place, "pro")} == {"1"}
    (on_cpus,) = await pods(place, "on-cpus")
    assert on_cpus["spec"]["nodeName"] in {it["metadata"]["name"] for it in (bare, whole, sliced)}
    assert limits(on_cpus) == {"memory": "16Gi"}
    assert english["spec"]["runtimeClassName"] == "nvidia"
    mounts = {mount["mountPath"]: mount for mount in english["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["/models"]["readOnly"] is True
    assert "/dev/shm" in mounts  # noqa: S108 - the pod's own


def limits(pod: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = pod["spec"]["containers"][0]["resources"]["limits"]
    return found
