"""What a real API server makes of the definition: what it fills in, refuses, stores and explains."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes.aio.dynamic.exceptions import BadRequestError, NotFoundError, UnprocessibleEntityError

from streamstack_operator.checks import SpecError, parse_spec, parse_status
from streamstack_operator.crd import crd
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.names import GROUP, STATUS_MANAGER, VERSION
from streamstack_operator.served import missing_fields
from support.namespaces import Namespace
from support.stack_crd import establish
from support.stack_specs import specs
from support.stack_tables import BAD, GOOD, SMALLEST, gateway, manifest
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("stack_crd")

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


async def dry_run(namespace: Namespace, stack: dict[str, Any]) -> dict[str, Any]:
    """Have the API server say what it would store; with what is unknown refused, as kubectl asks it to."""
    kind = await namespace._kind(stack)
    return await kind.create(
        body=stack,
        namespace=namespace.namespace,
        query_params=[("fieldValidation", "Strict"), ("dryRun", "All")],
        serializer=lambda _, answer: answer,
    )


async def read(namespace: Namespace, path: str, accept: str = "application/json") -> dict[str, Any]:
    return await namespace.kube.request(
        "get", path, header_params={"accept": accept}, serializer=lambda _, answer: answer
    )


def written(spec: StreamingStackSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("case", GOOD)
async def test_a_good_spec_is_stored_as_the_model_reads_it(namespace, case):
    stored = await dry_run(namespace, manifest(GOOD[case]))
    assert stored["spec"] == written(parse_spec(GOOD[case]))


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_spec_is_refused_by_field_and_reason(namespace, case):
    with pytest.raises(UnprocessibleEntityError) as refused:
        await dry_run(namespace, manifest(BAD[case].spec))
    causes = json.loads(refused.value.body)["details"]["causes"]
    told = [f"{cause['field']}: {cause['message']}" for cause in causes]
    assert any(it.startswith(BAD[case].where) and BAD[case].message in it for it in told), told


@st.composite
def trimmed(draw: st.DrawFn) -> dict[str, Any]:
    """A spec without some of its fields, anywhere: some that have a default, some that have to be there."""
    spec = written(draw(specs()))
    chance = draw(st.integers(2, 30))

    def trim(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            if isinstance(node, dict) and draw(st.integers(1, chance)) == 1:
                del node[key]
            elif isinstance(node[key], dict | list):
                trim(node[key])

    trim(spec)
    return spec


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=trimmed())
async def test_the_api_server_and_the_operator_take_the_same_specs_and_fill_in_the_same(namespace, spec):
    try:
        expected = written(parse_spec(spec))
    except SpecError:
        with pytest.raises(UnprocessibleEntityError):
            await dry_run(namespace, manifest(spec))
    else:
        assert (await dry_run(namespace, manifest(spec)))["spec"] == expected


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_the_examples_are_taken_with_everything_unknown_refused(namespace, path):
    await dry_run(namespace, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("stack", "field"),
    [
        (manifest({**SMALLEST, "replicas": 3}), "spec.replicas"),
        (manifest(gateway(limits={"sessions": 3})), "spec.gateway.limits.sessions"),
        (manifest({**SMALLEST, "pools": [{"name": "english", "gpus": 1}]}), "spec.pools[0].gpus"),
    ],
    ids=["in the spec", "in a part", "in a list"],
)
async def test_an_unknown_field_is_refused_by_name(namespace, stack, field):
    with pytest.raises(BadRequestError) as refused:
        await dry_run(namespace, stack)
    assert f'unknown field "{field}"' in json.loads(refused.value.body)["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 31, "at most 30 characters, for names of children begin with it: choose another"),
        ("1demo", "must begin with a letter"),
        ("demo.one", "must begin with a letter"),
    ],
)
async def test_a_name_that_children_cannot_begin_with_is_refused(namespace, name, message):
    with pytest.raises(UnprocessibleEntityError) as refused:
        await dry_run(namespace, manifest(SMALLEST, name=name))
    (cause,) = json.loads(refused.value.body)["details"]["causes"]
    assert cause["field"] == "metadata.name"
    assert message in cause["message"]


async def test_a_name_of_thirty_characters_is_taken(namespace):
    await dry_run(namespace, manifest(SMALLEST, name="x" * 30))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"storage": "2Gi"}, "spec.license.storage: Invalid value: storage cannot change"),
        ({"storage": "2Gi"}, {"storage": None}, "spec.license.storage: Invalid value: storage cannot change"),
        ({}, {"storageClassName": "fast"}, "spec.license.storageClassName: Invalid value: storageClassName cannot"),
        ({"storageClassName": "fast"}, {"storageClassName": None}, "storageClassName cannot change"),
        ({"storageClassName": "fast"}, {"storageClassName": "slow"}, "storageClassName cannot change"),
        ({}, {"ephemeral": True}, "spec.license.ephemeral: Invalid value: ephemeral cannot change"),
        ({"ephemeral": True}, {"ephemeral": None}, "ephemeral cannot change"),
    ],
)
async def test_the_journals_claim_cannot_change(namespace, before, after, message):
    stack = manifest({**SMALLEST, "license": {**SMALLEST["license"], **before}})
    stored = await namespace.create(stack)
    with pytest.raises(UnprocessibleEntityError) as refused:
        await namespace.patch(stored, {"spec": {"license": after}})
    assert message in refused.value.summary()
    changed = await namespace.patch(stored, {"spec": {"license": {"replicas": 2}}})
    assert changed["spec"]["license"]["replicas"] == 2


STATUS = {
    "observedGeneration": 1,
    "summary": "2 gateways, 1 of 1 ASR pods",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "clients can connect",
            "lastTransitionTime": "2026-11-21T12:00:00Z",
            "observedGeneration": 1,
        }
    ],
    "gateway": {
        "ready": "2/2",
        "sessions": 17,
        "activeRevision": "1a2b3c4d",
        "revisions": [
            {
                "revision": "1a2b3c4d",
                "phase": "Active",
                "rendering": {"version": 1, "image": "gateway:1"},
                "replicas": 2,
                "ready": 2,
                "oldestSessionStartedAt": "2026-11-21T12:00:00Z",
            }
        ],
    },
    "asrReady": "1/1",
    "license": {"state": "Connected"},
    "version": "0.1.0",
}


async def test_a_status_is_stored_as_it_was_written_and_nothing_is_made_up(namespace):
    stored = await namespace.create(manifest(SMALLEST))
    assert "status" not in stored
    reported = {**manifest(SMALLEST), "status": STATUS}
    del reported["spec"]
    answer = await namespace.apply(reported, manager=STATUS_MANAGER, subresource="status")
    assert answer["status"] == STATUS
    whole = parse_status(STATUS).model_dump(mode="json", by_alias=True, exclude_none=True)
    answer = await namespace.apply({**reported, "status": whole}, manager=STATUS_MANAGER, subresource="status")
    assert answer["status"] == whole


async def test_a_line_of_kubectl_get_tells_what_runs(namespace):
    stored = await namespace.create(manifest(SMALLEST))
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace.namespace}/streamingstacks"
    bare = await read(namespace, path, TABLE)
    shown = [column["name"] for column in bare["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", "Ready", "Gateway", "ASR", "Sessions", "License", "Revision", "Age", "Summary"]
    await namespace.patch(stored, {"status": STATUS}, subresource="status")
    (row,) = (await read(namespace, path, TABLE))["rows"]
    told = dict(zip((column["name"] for column in bare["columnDefinitions"]), row["cells"], strict=True))
    assert {**told, "Age": None} == {
        "Name": "demo",
        "Ready": "True",
        "Gateway": "2/2",
        "ASR": "1/1",
        "Sessions": 17,
        "License": "Connected",
        "Revision": "1a2b3c4d",
        "Version": "0.1.0",
        "Age": None,
        "Summary": "2 gateways, 1 of 1 ASR pods",
    }


async def test_kubectl_finds_it_by_its_short_name_and_category(namespace):
    kinds = (await read(namespace, f"/apis/{GROUP}/{VERSION}"))["resources"]
    (kind,) = (it for it in kinds if it["name"] == "streamingstacks")
    assert (kind["shortNames"], kind["categories"]) == (["sst"], ["streamstack"])


async def served_openapi(namespace: Namespace, group: str) -> dict[str, Any]:
    """The schema of a group, as soon as the API server publishes it."""
    path, found = f"/openapi/v3/apis/{group}/{VERSION}", []

    async def is_published() -> bool:
        try:
            found.append(await read(namespace, path))
        except NotFoundError:
            return False
        return bool(found[-1].get("components"))

    await eventually(is_published)
    return found[-1]


def undescribed(node: dict[str, Any], path: str) -> list[str]:
    own = [] if node.get("description") or path.endswith("[]") else [path]
    below = {**{f"{path}.{name}": it for name, it in node.get("properties", {}).items()}}
    below |= {f"{path}[]": node[name] for name in ("items", "additionalProperties") if name in node}
    return own + [found for where, child in below.items() for found in undescribed(child, where)]


async def test_kubectl_explain_has_a_sentence_for_every_field(namespace):
    document = await served_openapi(namespace, GROUP)
    fields = document["components"]["schemas"][f"dev.streamstack.{VERSION}.StreamingStack"]["properties"]
    assert {"gateway", "pools", "license"} <= fields["spec"]["properties"].keys()
    assert undescribed(fields["spec"], "spec") + undescribed(fields["status"], "status") == []


async def test_the_definition_that_is_served_lacks_nothing(namespace):
    assert missing_fields(await served_openapi(namespace, GROUP)) == ()


async def test_an_older_definition_is_found_out(namespace):
    # In a group of the test's own: other tests share this API server, and use the definition as it is.
    group = f"{namespace.namespace}.{GROUP}"
    older = copy.deepcopy(crd())
    older["metadata"]["name"] = f"streamingstacks.{group}"
    older["spec"]["group"] = group
    properties = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del properties["spec"]["properties"]["serviceAccount"]
    del properties["status"]["properties"]["gateway"]["properties"]["revisions"]["items"]["properties"]["sessions"]
    made = await establish(namespace, older)
    try:
        document = await served_openapi(namespace, group)
    finally:
        await namespace.delete(made)
    ours = json.loads(json.dumps(document).replace(f'"group": "{group}"', f'"group": "{GROUP}"'))
    assert missing_fields(document) == ("spec", "status")
    assert missing_fields(ours) == ("spec.serviceAccount", "status.gateway.revisions[].sessions")
