"""What the operator asks of a real API server, and what that refuses."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamstack_operator.facts import EventType, ObjectKey, StackEvent, StackKey
from streamstack_operator.kube import (
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    KindMissingError,
    Kube,
    NotFoundError,
    QuotaError,
    api,
    connect,
)
from streamstack_operator.names import API_VERSION, CHILD_MANAGER, KIND, STATUS_MANAGER
from support.kubeconfig import kubeconfig_for, kubeconfig_with_token
from support.namespaces import Namespace
from support.waiting import eventually
from support.workloads import deployment

CONFIG = ObjectKey("v1", "ConfigMap", "settings")


@pytest.fixture
async def kube(namespace: Namespace) -> AsyncIterator[Kube]:
    async with await connect(namespace.kubeconfig) as it:
        yield it


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}, "data": data}


def small_stack(name: str = "demo") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"license": {"secretName": "license"}, "pools": [{"name": "english", "engine": "Sphinx"}]},
    }


async def test_an_applied_child_is_there_as_the_operators_own(kube, namespace):
    made = await kube.apply(config_map(key="1"), namespace=namespace.namespace)
    assert made == await kube.get(CONFIG, namespace=namespace.namespace)
    assert {field["manager"] for field in made["metadata"]["managedFields"]} == {CHILD_MANAGER}
    assert kube.requests == {("patch", "configmaps"): 1, ("get", "configmaps"): 1}


async def test_applying_the_same_again_writes_nothing(kube, namespace):
    first = await kube.apply(config_map(key="1"), namespace=namespace.namespace)
    again = await kube.apply(config_map(key="1"), namespace=namespace.namespace)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_what_somebody_edited_is_taken_back_by_force(kube, namespace):
    await kube.apply(config_map(key="1"), namespace=namespace.namespace)
    await namespace.apply(config_map(key="2"), manager="somebody", force=True)
    assert (await kube.apply(config_map(key="1"), namespace=namespace.namespace))["data"] == {"key": "1"}


async def test_what_is_not_there_is_none_and_what_is_not_served_as_well(kube, namespace):
    route = ObjectKey("gateway.networking.k8s.io/v1", "HTTPRoute", "a")
    for key in (CONFIG, route):
        assert await kube.get(key, namespace=namespace.namespace) is None
        assert not await kube.exists(key, namespace=namespace.namespace)


async def test_that_something_exists_is_asked_without_its_content(kube, namespace):
    await namespace.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "license"}})
    assert await kube.exists(ObjectKey("v1", "Secret", "license"), namespace=namespace.namespace)


async def test_a_kind_that_is_not_served_is_told_from_an_object_that_is_not_there(kube, namespace):
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "a"}}
    with pytest.raises(KindMissingError, match="HTTPRoute a: the API server does not serve this kind"):
        await kube.apply(route, namespace=namespace.namespace)
    with pytest.raises(KindMissingError, match="httproutes"):
        await kube.list(route["apiVersion"], route["kind"], namespace=None, labels="")
    with pytest.raises(NotFoundError) as missing:
        await kube.scale(ObjectKey("apps/v1", "Deployment", "a"), 1, namespace=namespace.namespace)
    assert not isinstance(missing.value, KindMissingError)


async def test_a_namespace_that_is_not_there_is_named(kube):
    with pytest.raises(NotFoundError, match='namespaces "nowhere" not found'):
        await kube.apply(config_map(), namespace="nowhere")


async def test_a_list_has_all_pages_and_each_item_says_what_it_is(kube, namespace, monkeypatch):
    monkeypatch.setattr(api, "PAGE", 2)
    names = {f"settings-{number}" for number in range(5)}
    for name in names:
        await kube.apply(config_map(name), namespace=namespace.namespace)
    await namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "unlabelled"}})
    found = await kube.list("v1", "ConfigMap", namespace=namespace.namespace, labels="a=b")
    assert {item["metadata"]["name"] for item in found} == names
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "ConfigMap")}
    assert kube.requests["list", "configmaps"] == 3


async def test_a_snapshot_is_newer_than_what_is_in_it(kube, namespace):
    made = await kube.apply(config_map(), namespace=namespace.namespace)
    snapshot = await kube.snapshot("v1", "ConfigMap", namespace=namespace.namespace, labels="a=b")
    assert int(snapshot.resource_version) >= int(made["metadata"]["resourceVersion"])


async def test_scale_writes_the_number_of_pods_and_leaves_it_out_of_what_is_applied(kube, namespace):
    await kube.apply(deployment("a"), namespace=namespace.namespace)
    key = ObjectKey("apps/v1", "Deployment", "a")
    await kube.scale(key, 3, namespace=namespace.namespace)
    again = await kube.apply(deployment("a"), namespace=namespace.namespace)
    assert again["spec"]["replicas"] == 3


async def test_only_the_object_that_was_meant_is_deleted(kube, namespace):
    made = await kube.apply(config_map(), namespace=namespace.namespace)
    with pytest.raises(ConflictError, match="ConfigMap settings"):
        await kube.delete(CONFIG, namespace=namespace.namespace, uid="another")
    await kube.delete(CONFIG, namespace=namespace.namespace, uid=made["metadata"]["uid"])
    with pytest.raises(NotFoundError):
        await kube.delete(CONFIG, namespace=namespace.namespace, uid=made["metadata"]["uid"])


async def test_what_is_invalid_is_told_field_by_field(kube, namespace):
    wrong = deployment("a")
    wrong["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 99999}]
    with pytest.raises(InvalidError, match=r"containerPort: Invalid value: 99999"):
        await kube.apply(wrong, namespace=namespace.namespace)


async def test_a_secret_that_is_refused_is_not_told(kube, namespace):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"bad key": "aGlkZGVu"}}
    with pytest.raises(InvalidError) as refused:
        await kube.apply(secret, namespace=namespace.namespace)
    assert str(refused.value) == "Secret a: the API server answered 422 Invalid (data[bad key])"


async def test_a_quota_that_is_used_up_is_no_missing_permission(kube, namespace):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    quota = await namespace.create({**quota, "spec": {"hard": {"configmaps": "0"}}})

    async def counted() -> bool:
        return "hard" in ((await namespace.get(quota)).get("status") or {})

    await eventually(counted)
    with pytest.raises(QuotaError, match="exceeded quota: small"):
        await kube.apply(config_map(), namespace=namespace.namespace)


async def test_what_a_role_lacks_is_forbidden_and_said(namespace, tmp_path):
    config = await kubeconfig_with_token(namespace, "nobody", folder=tmp_path)
    async with await connect(config) as kube:
        with pytest.raises(ForbiddenError, match='cannot patch resource "configmaps"'):
            await kube.apply(config_map(), namespace=namespace.namespace)


async def test_the_status_is_written_by_a_manager_of_its_own_and_the_spec_stays(kube, namespace, stack_crd):
    made = await namespace.create(small_stack())
    key = StackKey(namespace.namespace, "demo")
    now = await kube.apply_status(key, {"summary": "well"})
    assert (now["status"]["summary"], now["spec"]) == ("well", made["spec"])
    assert STATUS_MANAGER in {field["manager"] for field in now["metadata"]["managedFields"]}
    assert kube.requests["patch", "streamingstacks/status"] == 1


async def test_the_status_of_a_stack_that_is_gone_is_not_written(kube, namespace, stack_crd):
    with pytest.raises(NotFoundError):
        await kube.apply_status(StackKey(namespace.namespace, "demo"), {"summary": "well"})


async def test_finalizers_are_set_only_over_the_version_that_was_seen(kube, namespace, stack_crd):
    made = await namespace.create(small_stack())
    key, version = StackKey(namespace.namespace, "demo"), made["metadata"]["resourceVersion"]
    await kube.set_finalizers(key, ["streamstack.dev/drain"], resource_version=version)
    with pytest.raises(ConflictError):
        await kube.set_finalizers(key, [], resource_version=version)
    now = await namespace.get(made)
    assert now["metadata"]["finalizers"] == ["streamstack.dev/drain"]
    await kube.set_finalizers(key, [], resource_version=now["metadata"]["resourceVersion"])
    assert "finalizers" not in (await namespace.get(made))["metadata"]


async def test_an_event_is_there_for_kubectl_describe(kube, namespace, stack_crd):
    made = await namespace.create(small_stack())
    event = StackEvent(EventType.WARNING, "QuotaExceeded", "x" * 2000)
    await kube.create_event(made, event, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    (found,) = await namespace.list("v1", "Event")
    assert (found["type"], found["reason"], found["message"]) == ("Warning", "QuotaExceeded", "x" * 1024)
    assert found["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert found["lastTimestamp"] == "2026-01-02T03:04:05Z"


async def test_the_schema_of_our_kind_is_served_with_its_crd(kube, stack_crd):
    async def served() -> bool:
        schema = await kube.served_schema()
        return schema is not None and any(KIND in name for name in schema["components"]["schemas"])

    await eventually(served)


async def test_something_is_made_once_and_replaced_only_over_what_was_seen(kube, namespace):
    made = await kube.create(config_map(key="1"), namespace=namespace.namespace)
    with pytest.raises(ConflictError, match="already exists"):
        await kube.create(config_map(), namespace=namespace.namespace)
    await kube.replace({**made, "data": {"key": "2"}}, namespace=namespace.namespace)
    with pytest.raises(ConflictError, match="has been modified"):
        await kube.replace({**made, "data": {"key": "3"}}, namespace=namespace.namespace)


async def connected_to(folder: Path, server: str) -> Kube:
    return await connect(kubeconfig_for(folder, server))


@pytest.mark.parametrize("body", ["<html>", "[]", '{"major": "one"}', "{}", '{"major": 1, "minor": 2}'])
async def test_a_version_that_is_none_is_an_api_server_that_cannot_be_used(tmp_path, serving, body):
    async with await connected_to(tmp_path, await serving("/version", body)) as kube:
        with pytest.raises(ApiUnavailableError, match="/version"):
            await kube.version()


async def test_a_list_that_takes_too_long_is_begun_anew(tmp_path, serving):
    pages = iter(
        [
            '{"metadata": {"resourceVersion": "1", "continue": "more"}, "items": [{"metadata": {"name": "old"}}]}',
            410,
            '{"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "new"}}]}',
        ]
    )
    async with await connected_to(tmp_path, await serving("/api/v1/pods", pages)) as kube:
        found = await kube.snapshot("v1", "Pod", namespace=None, labels="")
    assert [item["metadata"]["name"] for item in found.items] == ["new"]
    assert found.resource_version == "9"


async def test_an_api_server_that_says_nothing_is_given_up(tmp_path, serving):
    waits = asyncio.Event()
    async with await connected_to(tmp_path, await serving("/version", waits)) as kube:
        with pytest.raises(ApiUnavailableError, match=r"does not answer within 0\.05 s"):
            await kube._transport.request("GET", "/version", seconds=0.05)
    waits.set()
