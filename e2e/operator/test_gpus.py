"""Pools on GPUs where nodes only claim to have some: their pods come to the nodes, and nothing runs on them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from e2e.support.installed_operator import Operator
from e2e.support.manifests import pool
from e2e.support.stack import Stack, eventually, make, own_namespace

from devcluster import fake_gpus, product_images

SLICE = "nvidia.com/mig-3g.40gb"
SPHINX = product_images.reference("asr-sphinx")
"""The image with torch is gigabytes, and of no use without a GPU: whether a server starts is not asked here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def namespace(operator: Operator) -> AsyncIterator[str]:
    """Yield a namespace for stacks that do not come up."""
    async with own_namespace(operator) as name:
        yield name


@pytest.mark.parametrize("resource", [fake_gpus.RESOURCE, SLICE])
async def test_a_pod_comes_to_a_node_that_claims_what_it_asks_for_once_there_is_one(
    operator: Operator, namespace: str, tmp_path: Path, resource: str
) -> None:
    on_gpus = pool(engine="Nemotron", replicas=1, gpu={"resourceName": resource, "count": 2}, sharedMemory="128Mi")
    changes = {"pools": [on_gpus], "images": {"asrNemotron": SPHINX}}
    name = "gpus" if resource == fake_gpus.RESOURCE else "slices"
    stack = await make(operator, tmp_path, namespace=namespace, name=name, changes=changes, ready=False)

    async def is_named() -> bool:
        told = await stack.condition("ASRAvailable")
        return told.get("reason") == "Unschedulable" and resource in told["message"]

    async def is_placed() -> bool:
        return bool([pod for pod in await stack.pods("asr") if pod["spec"].get("nodeName")])

    await eventually(is_named)
    await asyncio.to_thread(fake_gpus.claim, operator.kube, gpus=2, resource=resource)
    try:
        await eventually(is_placed)
        (container,) = await containers(stack)
    finally:
        await asyncio.to_thread(fake_gpus.claim, operator.kube, gpus=0, resource=resource)
    assert container["resources"]["limits"][resource] == "2"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/dev/shm", "/tmp"}  # noqa: S108


async def containers(stack: Stack) -> list[dict[str, Any]]:
    """Containers of all servers, as the API server took them."""
    return [container for pod in await stack.pods("asr") for container in pod["spec"]["containers"]]
