"""What the operator's way of writing rests on (KEP-555)."""

import pytest
from kubernetes.aio.dynamic.exceptions import ConflictError

from support.workloads import deployment


def settings(**data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


async def test_two_managers_own_their_own_fields_of_one_object(namespace):
    await namespace.apply(settings(colour="blue"), manager="operator")
    await namespace.apply(settings(size="small"), manager="somebody")
    assert (await namespace.get(settings()))["data"] == {"colour": "blue", "size": "small"}


async def test_another_managers_field_is_refused_and_its_owner_named(namespace):
    await namespace.apply(settings(colour="blue"), manager="operator")
    with pytest.raises(ConflictError) as refused:
        await namespace.apply(settings(colour="green"), manager="somebody")
    assert refused.value.summary() == 'Apply failed with 1 conflict: conflict with "operator": .data.colour'
    assert (await namespace.get(settings()))["data"] == {"colour": "blue"}


async def test_a_forced_apply_takes_the_field_over(namespace):
    await namespace.apply(settings(colour="blue"), manager="somebody")
    await namespace.apply(settings(colour="green"), manager="operator", force=True)
    assert (await namespace.get(settings()))["data"] == {"colour": "green"}
    with pytest.raises(ConflictError):
        await namespace.apply(settings(colour="blue"), manager="somebody")


async def test_the_same_apply_again_changes_nothing_so_that_no_loop_feeds_itself(namespace):
    first = await namespace.apply(settings(colour="blue"), manager="operator")
    other = await namespace.create(settings() | {"metadata": {"name": "other"}})  # versions are the server's, and move
    again = await namespace.apply(settings(colour="blue"), manager="operator")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert other["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


async def test_a_field_left_out_of_the_next_apply_is_deleted(namespace):
    await namespace.apply(settings(colour="blue", size="small"), manager="operator")
    await namespace.apply(settings(colour="blue"), manager="operator")
    assert (await namespace.get(settings()))["data"] == {"colour": "blue"}


async def test_leaving_replicas_out_after_having_owned_them_scales_to_one(namespace):
    """Why `spec.replicas` never stands in an applied manifest: on a busy gateway this would be a mass kill."""
    await namespace.apply(deployment("web", replicas=4), manager="operator")
    applied = await namespace.apply(deployment("web"), manager="operator")
    assert applied["spec"]["replicas"] == 1


async def test_replicas_written_by_scale_alone_survive_every_apply(namespace):
    web = await namespace.apply(deployment("web"), manager="operator")
    assert web["spec"]["replicas"] == 1
    await namespace.scale(web, 4)
    changed = deployment("web", labels={"traffic": "on"})
    applied = await namespace.apply(changed, manager="operator", force=True)
    assert applied["spec"]["replicas"] == 4
    assert applied["spec"]["template"]["metadata"]["labels"]["traffic"] == "on"
