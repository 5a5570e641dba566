"""The definition of StreamingStack on the shared control plane, for every test that makes a stack.

Definitions have no namespace: all workers of a run apply the same one, as often as they like. A test that wants another
gives it a group of its own.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.namespaces import Api, Namespace

MANAGER = "tests"


@pytest.fixture
async def stack_crd(namespace: "Namespace") -> dict[str, Any]:
    """The definition, established; the test's own namespace comes with it."""
    from streamstack_operator.crd import crd

    return await establish(namespace, crd())


async def establish(api: "Api", definition: dict[str, Any]) -> dict[str, Any]:
    """Apply a definition, and return it when its kind can be used: served, and known to discovery, which is later."""
    from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

    from support.waiting import eventually

    made = await api.apply(definition, manager=MANAGER, force=True)
    spec = made["spec"]

    async def is_established() -> bool:
        conditions = (await api.get(made)).get("status", {}).get("conditions") or []
        return {"Established", "NamesAccepted"} <= {it["type"] for it in conditions if it["status"] == "True"}

    async def is_discovered() -> bool:
        version = f"{spec['group']}/{spec['versions'][0]['name']}"
        try:
            await api.kube.resources.get(api_version=version, kind=spec["names"]["kind"])
        except ResourceNotFoundError:
            return False
        return True

    await eventually(is_established)
    await eventually(is_discovered)
    return made
