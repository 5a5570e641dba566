"""What a service account may do is what a Role says, checked with a real token."""

import pytest
from kubernetes.aio.dynamic.exceptions import ForbiddenError

from support.namespaces import Api, Namespace, own_namespace
from support.workloads import deployment

SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credential"}}


def role(*rules: dict) -> dict:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "some"},
        "rules": list(rules),
    }


def rule(resources: str, *verbs: str, group: str = "") -> dict:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)}


async def allow(namespace: Namespace, account: str, *rules: dict) -> None:
    await namespace.create(role(*rules))
    await namespace.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "some"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some"},
            "subjects": [{"kind": "ServiceAccount", "name": account}],
        }
    )


async def test_a_token_says_who_its_service_account_is(namespace):
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    async with namespace.as_service_account("operator") as operator:
        answer = await operator.create(review)
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace.namespace}:operator"


async def test_a_role_allows_its_verbs_on_its_kinds_and_nothing_else(namespace):
    await namespace.create(SETTINGS)
    await namespace.create(SECRET)
    await allow(namespace, "operator", rule("configmaps", "get"))
    async with namespace.as_service_account("operator") as operator:
        assert (await operator.get(SETTINGS))["metadata"]["name"] == "settings"
        with pytest.raises(ForbiddenError) as unknown_kind:
            await operator.get(SECRET)
        with pytest.raises(ForbiddenError) as unknown_verb:
            await operator.delete(SETTINGS)
    assert 'cannot get resource "secrets"' in unknown_kind.value.summary()
    assert 'cannot delete resource "configmaps"' in unknown_verb.value.summary()


async def test_a_role_ends_at_its_namespace(namespace, control_plane, tmp_path):
    await allow(namespace, "operator", rule("configmaps", "get"))
    async with (
        own_namespace(control_plane.kubeconfig, folder=tmp_path) as other,
        namespace.as_service_account("operator") as operator,
    ):
        await other.create(SETTINGS)
        with pytest.raises(ForbiddenError):
            await Api(operator.kube, other.namespace).get(SETTINGS)


async def test_scaling_is_a_permission_of_its_own(namespace):
    """The operator's only way to write replicas is `deployments/scale`."""
    web = await namespace.create(deployment("web"))
    await allow(namespace, "operator", rule("deployments/scale", "patch", group="apps"))
    async with namespace.as_service_account("operator") as operator:
        await operator.scale(web, 2)
        with pytest.raises(ForbiddenError):
            await operator.patch(web, {"spec": {"replicas": 3}})
    assert (await namespace.get(web))["spec"]["replicas"] == 2


async def test_nobody_hands_out_more_than_they_have(namespace):
    await allow(
        namespace,
        "operator",
        rule("configmaps", "get"),
        rule("roles", "create", group="rbac.authorization.k8s.io"),
    )
    less, more = role(rule("configmaps", "get")), role(rule("secrets", "get"))
    less["metadata"], more["metadata"] = {"name": "less"}, {"name": "more"}
    async with namespace.as_service_account("operator") as operator:
        await operator.create(less)
        with pytest.raises(ForbiddenError, match="attempting to grant RBAC permissions not currently held"):
            await operator.create(more)


async def test_an_owner_that_blocks_needs_update_on_the_owners_finalizers(namespace):
    """Plugin OwnerReferencesPermissionEnforcement, on here as on OpenShift: kopf's own references set the block."""
    owner = await namespace.create(SETTINGS)
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "settings",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [reference]}}
    rules = rule("configmaps", "create")
    await allow(namespace, "operator", rules)
    async with namespace.as_service_account("operator") as operator:
        with pytest.raises(ForbiddenError, match="cannot set blockOwnerDeletion"):
            await operator.create(child)
        await namespace.patch(role(), {"rules": [rules, rule("configmaps/finalizers", "update")]})
        await operator.create(child)
