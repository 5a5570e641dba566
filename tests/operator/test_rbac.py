"""Least privilege: the chart's rules are enough for a stack's whole life, and none of them is too much."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devcluster.control_plane import ControlPlaneFacts
from streamstack_operator.crd import crd
from support.helm import OPERATOR, Helm, Manifest, of_kind
from support.namespaces import Namespace, own_namespace
from support.operated import Object, Operated, operated, stack
from support.recorded_requests import Recorded, Right, recorded
from support.stack_crd import establish

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(300)]

RELEASE = "streamstack-operator"
ROUTES = "httproutes.gateway.networking.k8s.io"
GATEWAY_API: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": ROUTES,
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2997"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "names": {"kind": "HTTPRoute", "plural": "httproutes"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
CREATING = {
    "name": "it",
    "image": "it:1",
    "imageID": "",
    "ready": False,
    "restartCount": 0,
    "state": {"waiting": {"reason": "ContainerCreating"}},
}
EVERYTHING = {
    "balancer": "Nginx",
    "ingress": {"host": "speech.example.com"},
    "httpRoute": {"hostnames": ["speech.example.com"], "parentRefs": [{"name": "edge"}]},
    "drain": {"onDelete": True},
    "pools": [{"name": "english", "engine": "Sphinx"}, {"name": "multilingual", "engine": "Sphinx"}],
}
LESS = {
    "license": {"secretName": "demo-license", "replicas": 2},
    "networkPolicies": {"enabled": False},
    "gateway": {"replicas": 2, "capacity": 8},
    "drain": {"onDelete": True},
}


def rights(roles: list[Manifest]) -> set[Right]:
    return {
        Right(group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def grant(namespace: Namespace, helm: Helm) -> list[Manifest]:
    """Apply the chart's roles for this namespace alone, and its account; the roles."""
    rendered = helm.manifests(
        OPERATOR,
        f"--namespace={namespace.namespace}",
        release=RELEASE,
        values={"namespaces": [namespace.namespace], "crds": {"enabled": False}},
    )
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for manifest in of_kind(rendered, kind):
            await namespace.apply(manifest, manager="helm")
    return of_kind(rendered, "Role")


async def token(namespace: Namespace) -> str:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": RELEASE}}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return str((await namespace.create_under(account, "token", request))["status"]["token"])


@asynccontextmanager
async def lived_in(
    control_plane: ControlPlaneFacts, helm: Helm, folder: Path
) -> AsyncIterator[tuple[Operated, Recorded, list[Manifest]]]:
    """A namespace, its operator's way to the API server, and the roles it has."""
    async with own_namespace(control_plane.kubeconfig, folder=folder) as namespace:
        await establish(namespace, crd())
        await establish(namespace, GATEWAY_API)
        roles = await grant(namespace, helm)
        configuration = namespace.kube.configuration
        async with (
            recorded(configuration.host, authority=str(configuration.ssl_ca_cert)) as way,
            operated(namespace, folder) as place,
        ):
            kubeconfig = folder / "operator.kubeconfig"
            kubeconfig.write_text(json.dumps(_kubeconfig(way.address, await token(namespace))))
            place.environment = {
                **place.environment,
                "KUBECONFIG": str(kubeconfig),
                "LEADER_ELECT": "true",
                "LEASE_NAME": RELEASE,
                "RELIST_SECONDS": "2",
            }
            yield place, way, roles


def _kubeconfig(server: str, bearer: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {"token": bearer}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }


async def test_every_right_of_the_chart_is_used_in_a_stacks_life_and_none_is_missing(
    own_control_plane: ControlPlaneFacts, helm: Helm, tmp_path: Path
) -> None:
    async with lived_in(own_control_plane, helm, tmp_path) as (place, way, roles):
        async with place.operator():
            wanted = stack(**EVERYTHING)
            await place.give_license()
            place.kubelet.problem = lambda pod: CREATING if pod.component == "gateway" else None
            await place.apply(wanted)
            await place.settles(wanted, "ASRAvailable", status="True")
            place.kubelet.problem = lambda _pod: None
            await place.is_ready(wanted)
            # Everything that can go, goes: ingress, route, balancer, policies, a pool, the old revisions.
            await place.apply(stack(**LESS))
            await place.is_ready(wanted)
            left = [("Service", "demo-asr-multilingual", "v1"), ("ConfigMap", "demo-asr-lb", "v1")]
            for kind, name, version in left:
                await place.gone({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
            await place.settles(wanted, "Draining", status="False")
            await place.namespace.delete(wanted)
            await place.gone(wanted)
        granted = rights(roles)
        assert way.forbidden == set()
        assert granted - way.used == set()


def _reading_only(role: Manifest, resource: str) -> Manifest:
    rules = [
        {**rule, "verbs": ["get", "list", "watch"]} if resource in rule["resources"] else rule for rule in role["rules"]
    ]
    return {**role, "rules": rules}


async def test_a_namespace_where_something_is_forbidden_is_said_and_made_good_by_granting_it(
    own_control_plane: ControlPlaneFacts, helm: Helm, tmp_path: Path
) -> None:
    async with lived_in(own_control_plane, helm, tmp_path) as (place, _, roles):
        role = next(role for role in roles if role["metadata"]["name"] == RELEASE)
        await place.namespace.apply(_reading_only(role, "networkpolicies"), manager="helm")
        await place.give_license()
        wanted = stack()
        async with place.operator():
            await place.apply(wanted)

            async def said() -> bool:
                conditions = ((await place.now(wanted)).get("status") or {}).get("conditions") or []
                return any(
                    each["reason"] == "Forbidden" and "networkpolicies" in each["message"] for each in conditions
                )

            await place.until(said)
            await place.namespace.apply(role, manager="helm")
            await place.is_ready(wanted)
