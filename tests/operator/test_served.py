"""An older definition is found out by the fields that the API server does not know."""

import copy
from typing import Any

import pytest

from streamstack_operator.crd import schema
from streamstack_operator.served import missing_fields

OUR_KIND = [{"group": "streamstack.dev", "kind": "StreamingStack", "version": "v1alpha1"}]


def served(*removed: str) -> dict[str, Any]:
    """The document of an API server whose definition lacks the fields ``removed``."""
    ours = copy.deepcopy(schema())
    for path in removed:
        *way, last = path.split(".")
        node = ours
        for step in way:
            node = node["properties"][step.removesuffix("[]")]
            node = node["items"] if step.endswith("[]") else node
        del node["properties"][last]
    ours["x-kubernetes-group-version-kind"] = OUR_KIND
    other = {"x-kubernetes-group-version-kind": [{**OUR_KIND[0], "kind": "StreamingStackList"}], "properties": {}}
    return {"components": {"schemas": {"list": other, "stack": ours, "plain": {"type": "object"}}}}


def test_our_own_definition_lacks_nothing():
    assert missing_fields(served()) == ()


@pytest.mark.parametrize(
    "field",
    [
        "spec.balancer",
        "spec.gateway.limits.bufferMegabytes",
        "spec.pools[].slots",
        "spec.pools[].placement.tolerations[].effect",
        "status.summary",
        "status.gateway.revisions[].rendering.image",
    ],
)
def test_a_field_that_an_older_definition_lacks_is_named(field):
    assert missing_fields(served(field)) == (field,)


def test_of_a_part_that_is_missing_its_own_path_is_enough():
    assert missing_fields(served("spec.drain", "status.license.state")) == ("spec.drain", "status.license.state")


def test_without_our_kind_everything_is_missing():
    assert missing_fields({"components": {"schemas": {}}}) == ("spec", "status")
    assert missing_fields({}) == ("spec", "status")


def test_a_part_that_keeps_whatever_it_is_given_lacks_nothing():
    document = served()
    kept = document["components"]["schemas"]["stack"]["properties"]["status"]
    kept.clear()
    kept["x-kubernetes-preserve-unknown-fields"] = True
    assert missing_fields(document) == ()


def test_a_newer_definition_lacks_nothing():
    document = served()
    document["components"]["schemas"]["stack"]["properties"]["spec"]["properties"]["tomorrow"] = {"type": "string"}
    assert missing_fields(document) == ()
