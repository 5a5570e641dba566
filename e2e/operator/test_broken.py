"""What is wrong with a stack is told where a person looks first, and a repaired one needs no further word."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from e2e.support import manifests
from e2e.support.installed_operator import Operator
from e2e.support.manifests import pool
from e2e.support.stack import Stack, apply, eventually, make, own_namespace

from devcluster.errors import DevError

TOLD_SECONDS = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def namespace(operator: Operator) -> AsyncIterator[str]:
    """Yield a namespace for stacks that do not come up."""
    async with own_namespace(operator) as name:
        yield name


async def broken(operator: Operator, namespace: str, folder: Path, **changes: Any) -> Stack:
    """Apply a stack that cannot become Ready, named by its folder."""
    name = f"broken-{folder.name[-3:]}".replace("_", "-")
    return await make(operator, folder, namespace=namespace, name=name, changes=changes, ready=False)


async def tells(stack: Stack, condition: str, reason: str, *words: str) -> None:
    """Wait until a condition is False for this reason, in these words; then Ready says no, and an Event says why."""
    found: Mapping[str, Any] = {}

    async def is_told() -> bool:
        nonlocal found
        found = await stack.condition(condition)
        return found.get("reason") == reason

    try:
        await eventually(is_told, seconds=TOLD_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{condition} never said {reason}: {await stack.status()}") from None
    assert found["status"] == "False"
    for word in words:
        assert word in found["message"]
    assert (await stack.condition("Ready"))["status"] == "False"
    selector = f"--field-selector=involvedObject.kind=StreamingStack,involvedObject.name={stack.name}"
    assert reason in {event["reason"] for event in await stack.objects("events", selector)}


async def test_a_missing_license_secret_is_named_and_the_stack_is_ready_once_it_is_there(
    operator: Operator, namespace: str, tmp_path: Path
) -> None:
    stack = await broken(operator, namespace, tmp_path, license={"secretName": "not-there"})
    await tells(stack, "LicenseValid", "LicenseSecretMissing", "not-there")
    await apply(operator, manifests.license_secret(namespace, tmp_path, name="not-there"))
    await stack.ready()


async def test_an_image_that_is_not_there_is_named(operator: Operator, namespace: str, tmp_path: Path) -> None:
    image = "streamstack/gateway:never-built"
    # Never: a registry that is asked answers when it likes, and the test's machine may have none to ask.
    stack = await broken(operator, namespace, tmp_path, images={"gateway": image, "pullPolicy": "Never"})
    await tells(stack, "GatewayAvailable", "ImageUnavailable", image)


async def test_a_gpu_that_no_node_has_is_named(operator: Operator, namespace: str, tmp_path: Path) -> None:
    wanted = pool(engine="Nemotron", gpu={"resourceName": "nvidia.com/gpu", "count": 1})
    stack = await broken(operator, namespace, tmp_path, pools=[wanted])
    await tells(stack, "ASRAvailable", "Unschedulable", "nvidia.com/gpu")


async def test_a_name_that_is_taken_is_named_and_what_has_it_stays_as_it_is(
    operator: Operator, namespace: str, tmp_path: Path
) -> None:
    name = f"broken-{tmp_path.name[-3:]}".replace("_", "-")
    metadata = {"name": f"{name}-gateway", "namespace": namespace}
    ports = {"ports": [{"port": 1234}], "selector": {"app": "somebody-elses"}}
    await apply(operator, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": ports})
    stack = await broken(operator, namespace, tmp_path)
    await tells(stack, "Accepted", "NameClash", f"{name}-gateway")
    service = await stack.object(f"service/{name}-gateway")
    assert service["spec"]["selector"] == ports["selector"]


async def test_a_spec_that_breaks_a_rule_is_refused_by_name_when_it_is_applied(
    operator: Operator, namespace: str, tmp_path: Path
) -> None:
    for changes, told in (
        ({"gateway": {"limits": {"maxSessions": 1}}}, "maxSessions must not be below capacity"),
        ({"pools": [pool(), pool()]}, "pools"),
        ({"balancer": "Envoy"}, 'supported values: "Gateway", "Nginx"'),
    ):
        with pytest.raises(DevError, match=told):
            await broken(operator, namespace, tmp_path, **changes)
