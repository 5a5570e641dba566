import pytest
from kubernetes.aio.dynamic.exceptions import NotFoundError

from support.namespaces import Api, own_namespace
from support.waiting import eventually

SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "blue"}}


async def test_what_one_test_makes_another_does_not_see(namespace, control_plane, tmp_path):
    await namespace.create(SETTINGS)
    async with own_namespace(control_plane.kubeconfig, folder=tmp_path) as other:
        with pytest.raises(NotFoundError):
            await other.get(SETTINGS)
    assert (await namespace.get(SETTINGS))["data"] == {"colour": "blue"}


async def test_a_deleted_namespace_takes_its_objects_with_it_and_is_gone(namespace, control_plane, tmp_path):
    async with own_namespace(control_plane.kubeconfig, folder=tmp_path) as other:
        await other.create(SETTINGS)
        left = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.namespace}}
    cluster = Api(namespace.kube, "")

    async def is_gone() -> bool:
        return not await cluster.exists(left)

    await eventually(is_gone)
    assert not await Api(namespace.kube, left["metadata"]["name"]).exists(SETTINGS)
