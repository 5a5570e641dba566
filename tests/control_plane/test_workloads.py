"""How Deployments, ReplicaSets and Services treat pods: what scaling in and moving traffic rest on."""

import pytest
from kubernetes.aio.dynamic.exceptions import UnprocessibleEntityError

from support.waiting import eventually
from support.workloads import DELETION_COST, deployment, made_node, pods_of, run


@pytest.fixture
async def node(namespace):
    async with made_node(namespace) as it:
        yield it


async def ready_replicas(namespace, count: int) -> None:
    """Wait until the ReplicaSet controller has seen so many ready pods, and whatever was written before that."""

    async def are_seen() -> bool:
        (replica_set,) = await namespace.list("apps/v1", "ReplicaSet")
        return replica_set["status"].get("readyReplicas", 0) == count

    await eventually(are_seen)


def costing(cost: str) -> dict:
    return {"metadata": {"annotations": {DELETION_COST: cost}}}


async def test_a_deployment_makes_a_replica_set_and_its_pods_which_stay_pending(namespace):
    web = await namespace.create(deployment("web", replicas=2))
    pods = await pods_of(namespace, "web", count=2)
    (replica_set,) = await namespace.list("apps/v1", "ReplicaSet", "app=web")
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == web["metadata"]["uid"]
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {replica_set["metadata"]["uid"]}
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}


async def test_of_ready_pods_the_one_with_the_lowest_deletion_cost_goes(namespace, node):
    """KEP-2255."""
    web = await namespace.create(deployment("web", replicas=3))
    first, victim, third = await pods_of(namespace, "web", count=3)
    await namespace.patch(victim, costing("-1000000"))
    for pod in (first, victim, third):
        await run(namespace, pod, on=node, ready=True)
    await ready_replicas(namespace, 3)
    await namespace.scale(web, 2)
    left = await pods_of(namespace, "web", count=2)
    assert [pod["metadata"]["name"] for pod in left] == [first["metadata"]["name"], third["metadata"]["name"]]


async def test_a_pod_that_is_not_ready_goes_before_any_ready_one_whatever_its_cost(namespace, node):
    """Why full is not unready, and why nothing is scaled in while a pod is not ready (ActivePodsWithRanks)."""
    web = await namespace.create(deployment("web", replicas=3))
    idle, unready, busy = await pods_of(namespace, "web", count=3)
    await namespace.patch(idle, costing("-1000000"))
    await namespace.patch(unready, costing("1000000"))
    await run(namespace, unready, on=node, ready=False)
    for pod in (idle, busy):
        await run(namespace, pod, on=node, ready=True)
    await ready_replicas(namespace, 2)
    await namespace.scale(web, 2)
    left = await pods_of(namespace, "web", count=2)
    assert [pod["metadata"]["name"] for pod in left] == [idle["metadata"]["name"], busy["metadata"]["name"]]


@pytest.mark.parametrize("cost", ["1.5", "much", "2147483648", "+1"])
async def test_a_deletion_cost_is_a_32_bit_integer(namespace, cost):
    await namespace.create(deployment("web", replicas=1))
    (pod,) = await pods_of(namespace, "web", count=1)
    with pytest.raises(UnprocessibleEntityError, match="pod-deletion-cost"):
        await namespace.patch(pod, costing(cost))
    assert (await namespace.patch(pod, costing("-2147483648")))["metadata"]["annotations"] == {
        DELETION_COST: "-2147483648"
    }


def service(**selector: str) -> dict:
    spec = {"selector": selector, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


async def backends(namespace, *addresses: str) -> None:
    """Wait until the Service's ready endpoints are these."""

    async def are_these() -> bool:
        slices = await namespace.list("discovery.k8s.io/v1", "EndpointSlice", "kubernetes.io/service-name=web")
        endpoints = [endpoint for it in slices for endpoint in it["endpoints"] or [] if endpoint["conditions"]["ready"]]
        return sorted(address for it in endpoints for address in it["addresses"]) == sorted(addresses)

    await eventually(are_these)


async def test_a_pod_labelled_out_of_the_service_stays_with_its_replica_set_and_can_come_back(namespace, node):
    await namespace.create(deployment("web", replicas=2, labels={"traffic": "on"}))
    await namespace.create(service(app="web", traffic="on"))
    retired, other = pods = await pods_of(namespace, "web", count=2)
    await run(namespace, retired, on=node, ready=True, address="192.0.2.1")
    await run(namespace, other, on=node, ready=True, address="192.0.2.2")
    await backends(namespace, "192.0.2.1", "192.0.2.2")
    await namespace.patch(retired, {"metadata": {"labels": {"traffic": "off"}}})
    await backends(namespace, "192.0.2.2")
    assert [it["metadata"]["uid"] for it in await pods_of(namespace, "web", count=2)] == [
        it["metadata"]["uid"] for it in pods
    ]
    await namespace.patch(retired, {"metadata": {"labels": {"traffic": "on"}}})
    await backends(namespace, "192.0.2.1", "192.0.2.2")


async def test_another_selector_moves_a_service_from_one_revision_to_the_other(namespace, node):
    for number, colour in enumerate(("blue", "green"), start=1):
        await namespace.create(deployment(colour, replicas=1))
        (pod,) = await pods_of(namespace, colour, count=1)
        await run(namespace, pod, on=node, ready=True, address=f"192.0.2.{number}")
    await namespace.apply(service(app="blue"), manager="operator")
    await backends(namespace, "192.0.2.1")
    await namespace.apply(service(app="green"), manager="operator")
    await backends(namespace, "192.0.2.2")
