"""The rules of the definition, said again in Python: for specs that an older definition let through."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_gateway import models
from streamstack_operator.checks import (
    TWINS,
    SpecError,
    is_about_a_change,
    name_problems,
    parse_spec,
    parse_status,
    rules,
)
from streamstack_operator.crd import crd
from streamstack_operator.model.base import Part
from streamstack_operator.model.pool import KNOWN_MODELS
from streamstack_operator.model.status import StreamingStackStatus
from support.stack_specs import specs
from support.stack_tables import BAD, BROKEN_RULES, GOOD, SMALLEST, gateway, pool

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def problems(spec: Any) -> tuple[str, ...]:
    with pytest.raises(SpecError) as refused:
        parse_spec(spec)
    return refused.value.problems


def parts(part: type[Part] = Part) -> Iterator[type[Part]]:
    for child in part.__subclasses__():
        yield child
        yield from parts(child)


def messages(node: Any) -> Iterator[str]:
    """Messages of all rules in a schema that are not about a change."""
    if isinstance(node, dict):
        yield from (it["message"] for it in node.get("x-kubernetes-validations", ()) if not is_about_a_change(it))
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from messages(child)


def test_every_rule_of_cel_has_its_twin_and_no_twin_is_left_over():
    said = {part: {it["message"] for it in rules(part) if not is_about_a_change(it)} for part in parts()}
    assert {part: set(twins) for part, twins in TWINS.items()} == {part: told for part, told in said.items() if told}
    versions = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert set(messages(versions)) == {message for twins in TWINS.values() for message in twins}


def test_there_is_a_broken_spec_for_every_rule():
    told = [problem for bad in BROKEN_RULES.values() for problem in problems(bad.spec)]
    rules = {message for twins in TWINS.values() for message in twins}
    assert {rule for rule in rules if not any(problem.endswith(rule) for problem in told)} == set()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_refused_by_field_and_reason(case):
    bad = BAD[case]
    assert any(problem.startswith(bad.where) and bad.message in problem for problem in problems(bad.spec))


@pytest.mark.parametrize("case", GOOD)
def test_a_good_spec_is_taken(case):
    parse_spec(GOOD[case])


@settings(max_examples=50, deadline=None)
@given(specs())
def test_a_spec_is_read_as_it_was_written(spec):
    assert parse_spec(spec.model_dump(mode="json", by_alias=True, exclude_none=True)) == spec


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_specs_that_can_be_carried_out(path):
    example = yaml.safe_load(path.read_text())
    parse_spec(example["spec"])
    assert name_problems(example["metadata"]["name"]) == ()


def test_the_smallest_example_is_ten_lines():
    (smallest,) = (path for path in EXAMPLES if path.name == "smallest.yaml")
    assert len([line for line in smallest.read_text().splitlines() if not line.startswith("#")]) <= 10


def test_all_problems_are_told_at_once_with_what_was_found():
    spec = gateway(replicas=0, limits={"maxSession": 4}) | {"pools": [{"name": "english", "engine": "Kaldi"}]}
    assert problems(spec) == (
        "spec.gateway.replicas: found 0, expected greater than or equal to 1",
        "spec.gateway.limits.maxSession: found 4, expected no field of this name",
        "spec.pools[0].engine: found \"Kaldi\", expected 'Nemotron', 'Sphinx', 'Scripted' or 'LoadTest'",
    )


def test_what_may_be_of_two_kinds_is_told_in_one_line():
    assert problems(pool(sharedMemory=[])) == (
        "spec.pools[0].sharedMemory: found [], expected a valid integer or a valid string",
    )


def test_a_broken_rule_tells_the_value_that_breaks_it():
    assert problems(gateway(limits={"maxSessions": 3})) == (
        "spec.gateway.limits.maxSessions: found 3, limits.maxSessions must not be below capacity",
    )


def test_a_variable_of_a_broken_rule_is_told_without_its_value():
    spec = gateway(env=[{"name": "A", "value": "s3cret", "secretKeyRef": {"name": "a", "key": "b"}}])
    assert "s3cret" not in str(problems(spec))


MODEL = "^[A-Za-z0-9*][A-Za-z0-9._-]*$"


def test_a_key_that_no_label_can_have_is_told():
    told = problems(gateway(modelAliases={"no name": "en-default"}))
    assert told == (
        f"spec.gateway.modelAliases.no name: found \"no name\", expected string to match pattern '{MODEL}'",
    )


def test_names_in_pythons_style_are_unknown():
    assert problems({**SMALLEST, "max_session_seconds": 60}) == (
        "spec.max_session_seconds: found 60, expected no field of this name",
    )


@pytest.mark.parametrize("spec", [None, [], "spec", 1])
def test_what_is_no_object_is_no_spec(spec):
    assert problems(spec) == ("spec: expected an object",)


def test_a_long_value_is_told_in_short():
    (told,) = problems(gateway(tls={"secretName": "x" * 500}))
    assert len(told) < 200


@pytest.mark.parametrize("name", ["a", "demo", "a-1", "x" * 30])
def test_a_name_that_children_can_begin_with_is_taken(name):
    assert name_problems(name) == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [("1demo", "begin with a letter"), ("demo.one", "begin with a letter"), ("x" * 31, "at most 30 characters")],
)
def test_another_name_is_refused_with_what_to_do(name, message):
    (told,) = name_problems(name)
    assert message in told
    assert told.endswith(f'choose another, found "{name}"')


def test_models_that_gateways_know_are_those_of_the_gateway():
    assert dict(models.KNOWN_MODELS) == KNOWN_MODELS


STATUS = {
    "observedGeneration": 3,
    "summary": "2 of 2 gateways",
    "gateway": {
        "ready": "2/2",
        "activeRevision": "1a2b3c4d",
        "revisions": [
            {"revision": "1a2b3c4d", "phase": "Active", "rendering": {"version": 1, "image": "gateway:1"}, "ready": 2},
            {"revision": "5e6f7a8b", "phase": "Draining", "rendering": {"version": 1, "image": "gateway:0"}},
        ],
    },
    "license": {"state": "Ready"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    status = json.loads(json.dumps(STATUS))
    *way, last = path.split(".")
    node: Any = status
    for step in way:
        node = node[int(step) if step.isdigit() else step]
    node[last] = value
    return status


def test_a_status_is_read_as_it_was_written():
    read = parse_status(STATUS)
    assert parse_status(read.model_dump(mode="json", by_alias=True, exclude_none=True)) == read
    assert [it.revision for it in read.gateway.revisions] == ["1a2b3c4d", "5e6f7a8b"]


@pytest.mark.parametrize("raw", [None, {}, [], "status", {"gateway": None}, {"pools": 3, "conditions": {"a": 1}}])
def test_no_status_is_one_that_says_nothing(raw):
    assert parse_status(raw) == StreamingStackStatus()


def test_what_is_unknown_is_left_out_and_the_rest_is_read():
    assert parse_status(changed("gateway.revisions.0.colour", "blue")) == parse_status(STATUS)
    assert parse_status(changed("tomorrow", {"a": [1]})) == parse_status(STATUS)


def test_an_item_that_cannot_be_read_goes_and_those_beside_it_stay():
    read = parse_status(changed("gateway.revisions.0.phase", "Hovering"))
    assert [it.revision for it in read.gateway.revisions] == ["5e6f7a8b"]
    assert (read.summary, read.gateway.ready) == ("2 of 2 gateways", "2/2")


FIELDS = ("gateway", "pools", "revisions", "conditions", "ready", "license", "credential", "name", "x")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda it: st.lists(it, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), it, max_size=4),
    max_leaves=15,
)


@given(ANYTHING)
@settings(max_examples=200, deadline=None)
def test_no_status_whatever_is_in_it_stops_the_operator(raw):
    assert isinstance(parse_status(raw), StreamingStackStatus)
