"""What is rendered, on a real API server: it takes every field, and the same again changes nothing."""

import json
import subprocess
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from kubernetes.aio.dynamic.exceptions import InternalServerError

from streamstack_operator.facts import Manifest, ObjectKey, Stack, StackKey
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.names import CHILD_MANAGER
from support.manifests import everything, gateways, of_kind
from support.namespaces import Namespace
from support.stack_specs import SMALLEST, specs, stack
from support.waiting import eventually

ROUTE_MODULE = Path(__file__).parents[3] / "hack/tools/traefik"
"""Traefik's module knows the Gateway API's, and its hash."""


async def put(namespace: Namespace, manifest: Manifest) -> Mapping[str, Any]:
    return await namespace.apply(manifest, manager=CHILD_MANAGER, force=True)


async def settled(namespace: Namespace, manifest: Manifest) -> None:
    """Apply it again until that changes nothing: a controller may write in between, a fixed point has to be there."""

    async def changes_nothing() -> bool:
        before = await namespace.get(manifest)
        after = await put(namespace, manifest)
        return bool(before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"])

    try:
        await eventually(changes_nothing)
    except TimeoutError:
        pytest.fail(f"{ObjectKey.of(manifest)} is changed by every apply")


async def owned(namespace: Namespace, spec: StreamingStackSpec, name: str) -> list[Manifest]:
    """Everything of a stack here; its owner is an object that is there, for owners that are not take all along."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-owner"}}
    made = await namespace.create(owner)
    rendered = everything(stack(spec, namespace=namespace.namespace, name=name, uid=made["metadata"]["uid"]))
    for manifest in rendered:
        (reference,) = manifest["metadata"]["ownerReferences"]
        reference |= {"apiVersion": "v1", "kind": "ConfigMap", "name": f"{name}-owner"}
    return [manifest for manifest in rendered if manifest["kind"] != "HTTPRoute"]


numbers = count()


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has a name of its own
)
@given(specs())
async def test_the_api_server_takes_whatever_a_spec_is_rendered_to(
    namespace: Namespace, spec: StreamingStackSpec
) -> None:
    for manifest in await owned(namespace, spec, f"made-{next(numbers)}"):
        await put(namespace, manifest)


FULL = Path(__file__).with_name("golden") / "full.spec.yaml"
SPECS = {"smallest": SMALLEST, "full": StreamingStackSpec.model_validate(yaml.safe_load(FULL.read_text("utf-8")))}


@pytest.mark.parametrize("name", SPECS)
async def test_what_is_applied_again_changes_nothing(namespace: Namespace, name: str) -> None:
    rendered = await owned(namespace, SPECS[name], name)
    for manifest in rendered:
        await put(namespace, manifest)
    for manifest in rendered:
        await settled(namespace, manifest)


@pytest.mark.parametrize("name", SPECS)
async def test_what_is_rendered_is_what_is_kept(namespace: Namespace, name: str) -> None:
    """No field of ours is dropped or changed on its way, so that what differs later is somebody's doing."""
    for manifest in await owned(namespace, SPECS[name], name):
        became = await put(namespace, manifest)
        assert _differs(manifest, became) == []


async def test_a_field_that_the_api_server_does_not_know_is_refused_so_typing_errors_show(namespace: Namespace) -> None:
    manifest = deepcopy(gateways(stack(namespace=namespace.namespace)).deployment)
    del manifest["metadata"]["ownerReferences"]
    manifest["spec"]["template"]["spec"]["terminationGraceSeconds"] = 5
    with pytest.raises(InternalServerError, match=r"terminationGraceSeconds.*field not declared in schema"):
        await put(namespace, manifest)


async def test_a_route_is_taken_by_the_gateway_apis_own_definition(namespace: Namespace) -> None:
    await _serve_routes(namespace)
    fields = {"hostnames": ["calls.example"], "parentRefs": [{"name": "edge", "sectionName": "https"}]}
    spec = StreamingStackSpec.model_validate(
        {"license": {"secretName": "license"}, "pools": [{"name": "english"}], "httpRoute": fields}
    )
    made: Stack = replace(stack(spec), key=StackKey(namespace.namespace, "demo"))
    (route,) = of_kind(everything(made), "HTTPRoute")
    del route["metadata"]["ownerReferences"]
    assert _differs(route, await put(namespace, route)) == []
    await settled(namespace, route)


async def _serve_routes(namespace: Namespace) -> None:
    command = ["go", "mod", "download", "-json", "sigs.k8s.io/gateway-api"]
    said = subprocess.run(command, cwd=ROUTE_MODULE, check=True, capture_output=True, text=True)
    folder = Path(json.loads(said.stdout)["Dir"]) / "config/crd/standard"
    definition = yaml.safe_load((folder / "gateway.networking.k8s.io_httproutes.yaml").read_text("utf-8"))
    await namespace.apply(definition, manager="test", force=True)

    async def is_served() -> bool:
        conditions = (await namespace.get(definition)).get("status", {}).get("conditions") or []
        return any((found["type"], found["status"]) == ("Established", "True") for found in conditions)

    await eventually(is_served)


def _differs(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Paths at which something wanted is not there; the API server may add what it likes."""
    if isinstance(wanted, dict):
        return [
            problem
            for key, value in wanted.items()
            for problem in (_differs(value, found[key], f"{path}.{key}") if key in found else [f"{path}.{key}: gone"])
        ]
    if isinstance(wanted, list):
        if len(wanted) != len(found):
            return [f"{path}: {wanted} became {found}"]
        return [
            problem
            for number, (one, other) in enumerate(zip(wanted, found, strict=True))
            for problem in _differs(one, other, f"{path}[{number}]")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r} became {found!r}"]
