"""A control plane with a scheduler, for tests that make nodes up."""

import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import control_plane as control_planes
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts
from devcluster.errors import DevError
from devcluster.steps import Steps
from support.namespaces import own_namespace
from support.waiting import eventually
from support.workloads import made_node

pytestmark = pytest.mark.control_plane

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "asr"},
    "spec": {
        "containers": [{"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        "tolerations": [{"operator": "Exists"}],  # a node without a kubelet is tainted before long
    },
}


@pytest.fixture
def with_scheduler(tmp_path: Path) -> Iterator[ControlPlaneFacts]:
    name, cache = f"test-{secrets.token_hex(4)}", Cache()
    steps = Steps(tmp_path / "logs", out=io.StringIO())
    yield control_planes.up(name, cache=cache, steps=steps, with_scheduler=True, die_with=os.getpid())
    control_planes.down(name, cache=cache, steps=steps)


async def test_a_pod_waits_for_a_node_with_what_it_asks_for(with_scheduler, tmp_path):
    async with own_namespace(with_scheduler.kubeconfig, folder=tmp_path) as namespace:
        pod = await namespace.create(POD)
        async with made_node(namespace) as node:

            async def is_refused() -> bool:
                conditions = (await namespace.get(pod))["status"].get("conditions", [])
                return any("Insufficient nvidia.com/gpu" in condition.get("message", "") for condition in conditions)

            async def is_placed() -> bool:
                return (await namespace.get(pod))["spec"].get("nodeName") == node["metadata"]["name"]

            await eventually(is_refused)
            has = {"pods": "10", "nvidia.com/gpu": "2"}
            await namespace.patch(node, {"status": {"capacity": has, "allocatable": has}}, subresource="status")
            await eventually(is_placed)


def test_a_running_one_does_not_grow_a_scheduler(control_plane, tmp_path):
    with pytest.raises(DevError, match="runs without a scheduler"):
        control_planes.up(
            control_plane.name, cache=Cache(), steps=Steps(tmp_path, out=io.StringIO()), with_scheduler=True
        )
