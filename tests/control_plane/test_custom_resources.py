"""A CRD made from a dict: what its schema promises, the API server keeps."""

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.dynamic.exceptions import UnprocessibleEntityError

from support.namespaces import Api, Namespace
from support.waiting import eventually

RULES = [
    {"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas must not exceed maxReplicas"},
    {"rule": "self.engine == oldSelf.engine", "message": "engine is immutable", "fieldPath": ".engine"},
]
CONDITIONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status"],
        "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["engine"],
            "x-kubernetes-validations": RULES,
            "properties": {
                "engine": {"type": "string", "enum": ["sphinx", "nemotron"]},
                "minReplicas": {"type": "integer", "minimum": 0, "default": 1},
                "maxReplicas": {"type": "integer", "maximum": 1000, "default": 10},
            },
        },
        "status": {"type": "object", "properties": {"conditions": CONDITIONS}},
    },
}


def definition(group: str) -> dict:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"pools.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Pool", "plural": "pools"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": SCHEMA},
                }
            ],
        },
    }


class Pools:
    """The kind that a test made, in a group of its own: definitions have no namespace."""

    def __init__(self, api: Api, group: str) -> None:
        self.api = api
        self._version = f"{group}/v1alpha1"

    def pool(self, **fields: object) -> dict:
        return {"apiVersion": self._version, "kind": "Pool", "metadata": {"name": "english"}, **fields}


@pytest.fixture
async def pools(namespace: Namespace) -> AsyncIterator[Pools]:
    group = f"{namespace.namespace}.streamstack.dev"
    made = await namespace.create(definition(group))

    async def is_established() -> bool:
        conditions = (await namespace.get(made))["status"]["conditions"] or []
        return {"Established": "True", "NamesAccepted": "True"}.items() <= {
            condition["type"]: condition["status"] for condition in conditions
        }.items()

    try:
        await eventually(is_established)
        yield Pools(namespace, group)
    finally:
        await namespace.delete(made)


async def test_a_good_object_is_stored_with_its_defaults(pools):
    stored = await pools.api.create(pools.pool(spec={"engine": "sphinx"}))
    assert stored["spec"] == {"engine": "sphinx", "minReplicas": 1, "maxReplicas": 10}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.engine: Required value"),
        ({"engine": "other"}, 'spec.engine: Unsupported value: "other": supported values: "sphinx", "nemotron"'),
        ({"engine": "sphinx", "maxReplicas": 1001}, "spec.maxReplicas in body should be less than or equal to 1000"),
        ({"engine": "sphinx", "minReplicas": 11}, "minReplicas must not exceed maxReplicas"),
    ],
    ids=["left out", "not in the enumeration", "too large", "against a rule over two fields"],
)
async def test_a_bad_object_is_refused_and_told_why(pools, spec, message):
    with pytest.raises(UnprocessibleEntityError) as refused:
        await pools.api.create(pools.pool(spec=spec))
    assert message in refused.value.summary()


async def test_a_rule_compares_an_object_with_what_it_was(pools):
    stored = await pools.api.create(pools.pool(spec={"engine": "sphinx"}))
    with pytest.raises(UnprocessibleEntityError, match="engine is immutable"):
        await pools.api.patch(stored, {"spec": {"engine": "nemotron"}})
    changed = await pools.api.patch(stored, {"spec": {"maxReplicas": 20}})
    assert changed["spec"]["maxReplicas"] == 20


async def test_a_field_that_the_schema_does_not_know_is_dropped(pools):
    stored = await pools.api.create(pools.pool(spec={"engine": "sphinx", "colour": "blue"}))
    assert "colour" not in stored["spec"]


async def test_the_status_is_written_apart_and_is_no_new_generation(pools):
    stored = await pools.api.create(pools.pool(spec={"engine": "sphinx"}, status={"conditions": []}))
    assert "status" not in stored
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    reported = await pools.api.patch(stored, {"status": ready, "spec": {"maxReplicas": 20}}, subresource="status")
    assert reported["status"] == ready
    assert reported["spec"]["maxReplicas"] == 10
    assert reported["metadata"]["generation"] == 1
    assert (await pools.api.patch(stored, {"spec": {"maxReplicas": 20}}))["metadata"]["generation"] == 2


async def test_conditions_of_two_managers_live_side_by_side(pools):
    await pools.api.create(pools.pool(spec={"engine": "sphinx"}))
    for manager, condition in (("operator", "Ready"), ("somebody", "Audited")):
        status = {"conditions": [{"type": condition, "status": "True"}]}
        await pools.api.apply(pools.pool(status=status), manager=manager, subresource="status")
    reported = (await pools.api.get(pools.pool()))["status"]["conditions"]
    assert {condition["type"] for condition in reported} == {"Ready", "Audited"}
