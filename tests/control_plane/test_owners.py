"""Who is owned goes with the owner: the garbage collector runs."""

from support.waiting import eventually
from support.workloads import deployment, pods_of


def settings(name: str, **metadata: object) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


async def gone(namespace, obj: dict) -> None:
    async def is_gone() -> bool:
        return not await namespace.exists(obj)

    await eventually(is_gone)


def owned_by(owner: dict) -> dict:
    return {key: owner[key] for key in ("apiVersion", "kind")} | {
        key: owner["metadata"][key] for key in ("name", "uid")
    }


async def test_what_an_object_owns_is_collected_after_it(namespace):
    owner = await namespace.create(settings("owner"))
    child = await namespace.create(settings("child", ownerReferences=[owned_by(owner)]))
    grandchild = await namespace.create(settings("grandchild", ownerReferences=[owned_by(child)]))
    free = await namespace.create(settings("free"))
    await namespace.delete(owner)
    await gone(namespace, grandchild)
    assert not await namespace.exists(child)
    assert await namespace.exists(free)


async def test_an_owner_of_another_identity_is_no_owner(namespace):
    """A stack deleted and made again under its name does not inherit the old one's children: the uid counts."""
    owner = await namespace.create(settings("owner"))
    await namespace.delete(owner)
    again = await namespace.create(settings("owner"))
    stale = await namespace.create(settings("stale", ownerReferences=[owned_by(owner)]))
    child = await namespace.create(settings("child", ownerReferences=[owned_by(again)]))
    await gone(namespace, stale)
    assert await namespace.exists(child)


async def test_orphaned_children_outlive_their_owner(namespace):
    owner = await namespace.create(settings("owner"))
    child = await namespace.create(settings("child", ownerReferences=[owned_by(owner)]))
    await namespace.delete(owner, propagation="Orphan")
    await gone(namespace, owner)
    assert "ownerReferences" not in (await namespace.get(child))["metadata"]


async def test_a_deleted_deployment_takes_its_replica_set_and_pods_with_it(namespace):
    web = await namespace.create(deployment("web", replicas=2))
    await pods_of(namespace, "web", count=2)
    await namespace.delete(web)
    await pods_of(namespace, "web", count=0)
    assert await namespace.list("apps/v1", "ReplicaSet", "app=web") == []
