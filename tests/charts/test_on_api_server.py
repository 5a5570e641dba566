"""Both charts against a real API server: what Helm does with them over a release's life. No pod runs here."""

import base64
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.dynamic.exceptions import NotFoundError

from devcluster import control_plane as control_planes
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts
from devcluster.steps import Steps
from support.helm import OPERATOR, STACK, Helm, HelmError, Values
from support.namespaces import Namespace, own_namespace
from support.waiting import eventually

# A control plane of its own: Helm takes over no definition that it did not make, and other tests apply theirs.
pytestmark = pytest.mark.control_plane

SYSTEM = "streamstack-system"
OPERATOR_RELEASE = "streamstack-operator"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "streamingstacks.streamstack.dev"},
}
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl"
NEW_JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJuZXcifQ.c2lnbmF0dXJl"
SPHINX: Values = {"pools": [{"name": "english", "engine": "Sphinx"}]}
FINALIZER = "streamstack.dev/drain"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of the test's own, and Helm that talks to its API server."""

    helm: Helm
    namespace: Namespace

    def __call__(self, verb: str, release: str, *args: str | Path, values: Values | None = None) -> str:
        return self.helm(verb, release, *args, f"--namespace={self.namespace.namespace}", values=values)

    def operator(self, verb: str, *args: str | Path, values: Values | None = None) -> str:
        return self.helm(verb, OPERATOR_RELEASE, *args, f"--namespace={SYSTEM}", values=values)

    def install_operator(self) -> str:
        return self.operator("upgrade", OPERATOR, "--install", "--create-namespace")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the operator's release to one test at a time: its definition is the whole cluster's."""
        with Cache().lock("chart-tests"):
            yield

    async def of_system(self, kind: str, name: str, api_version: str = "v1") -> dict[str, Any]:
        api = replace(self.namespace, namespace=SYSTEM)
        return await api.get({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})

    async def of_stack(self, kind: str, name: str = "demo") -> dict[str, Any] | None:
        version = "streamstack.dev/v1alpha1" if kind == "StreamingStack" else "v1"
        try:
            return await self.namespace.get({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
        except NotFoundError:
            return None

    async def may(self, verb: str, group: str, resource: str, *, namespace: str) -> bool:
        """Tell whether the operator's service account may do something."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": f"system:serviceaccount:{self.namespace.namespace}:namespaced-streamstack-operator",
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace},
            },
        }
        return bool((await self.namespace.create(review))["status"]["allowed"])


@pytest.fixture(scope="module")
def chart_control_plane(request: pytest.FixtureRequest) -> ControlPlaneFacts:
    run = os.getppid() if hasattr(request.config, "workerinput") else os.getpid()
    cache = Cache()
    return control_planes.up(f"charts-{run}", cache=cache, steps=Steps(cache.logs), die_with=run)


@pytest.fixture
async def cluster(helm: Helm, chart_control_plane: ControlPlaneFacts, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with own_namespace(chart_control_plane.kubeconfig, folder=tmp_path) as namespace:
        yield Cluster(replace(helm, kubeconfig=chart_control_plane.kubeconfig), namespace)


@pytest.fixture
async def stacks(cluster: Cluster) -> Cluster:
    """A cluster that knows StreamingStacks."""
    with cluster.alone():
        if not await cluster.namespace.exists(DEFINITION):
            cluster.install_operator()
    return cluster


async def test_the_operators_release_lives_from_install_to_uninstall(cluster: Cluster) -> None:
    with cluster.alone():
        cluster.install_operator()
        credential = (await cluster.of_system("Secret", f"{OPERATOR_RELEASE}-credential"))["data"]

        cluster.operator("upgrade", OPERATOR, values={"replicas": 2})
        deployment = await cluster.of_system("Deployment", OPERATOR_RELEASE, "apps/v1")
        assert deployment["spec"]["replicas"] == 2
        assert await cluster.of_system("PodDisruptionBudget", OPERATOR_RELEASE, "policy/v1")
        assert (await cluster.of_system("Secret", f"{OPERATOR_RELEASE}-credential"))["data"] == credential

        cluster.operator("rollback")
        deployment = await cluster.of_system("Deployment", OPERATOR_RELEASE, "apps/v1")
        assert deployment["spec"]["replicas"] == 1
        with pytest.raises(NotFoundError):
            await cluster.of_system("PodDisruptionBudget", OPERATOR_RELEASE, "policy/v1")
        assert (await cluster.of_system("Secret", f"{OPERATOR_RELEASE}-credential"))["data"] == credential

        cluster("install", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}})
        cluster.operator("uninstall")
        assert await cluster.of_stack("StreamingStack")
        with pytest.raises(HelmError, match="ownership metadata"):
            cluster("install", "another", OPERATOR)
        cluster.install_operator()


async def test_its_pods_are_admitted_where_the_restricted_standard_is_enforced(cluster: Cluster) -> None:
    about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.namespace.namespace}}
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    await cluster.namespace.patch(about, {"metadata": {"labels": enforced}})
    cluster("install", "admitted", OPERATOR, "--set=crds.enabled=false")

    async def is_there() -> bool:
        return len(await cluster.namespace.list("v1", "Pod", "app.kubernetes.io/instance=admitted")) == 1

    await eventually(is_there)


async def test_with_namespaces_it_has_rights_there_and_nowhere_else(cluster: Cluster) -> None:
    here = cluster.namespace.namespace
    cluster("install", "namespaced", OPERATOR, "--set=crds.enabled=false", values={"namespaces": [here]})
    assert await cluster.may("patch", "apps", "deployments", namespace=here)
    assert not await cluster.may("patch", "apps", "deployments", namespace="default")
    assert not await cluster.may("list", "", "secrets", namespace=here)
    assert not await cluster.may("list", "streamstack.dev", "streamingstacks", namespace="")


async def test_what_the_api_server_does_not_know_is_refused(cluster: Cluster) -> None:
    unknown = {"extraEnv": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "path": "b"}}}]}
    with pytest.raises(HelmError, match="field not declared in schema"):
        cluster("install", "strict", OPERATOR, "--set=crds.enabled=false", values=unknown)


@pytest.mark.parametrize(
    ("group", "edge", "said"),
    [
        ("traefik.io", {"ingress": {"host": "a.example"}}, "graceTimeOut=10800s"),
        (
            "gateway.envoyproxy.io",
            {"httpRoute": {"hostnames": ["a.example"], "parentRefs": [{"name": "edge"}]}},
            "drainTimeout: 11100s",
        ),
    ],
)
async def test_the_notes_name_what_the_controller_that_is_there_has_to_be_told(
    stacks: Cluster, group: str, edge: Values, said: str
) -> None:
    values = {**SPHINX, "license": {"jwt": JWT}, **edge}
    brought = await stacks.namespace.create(definition_of(group))
    try:

        async def is_said() -> bool:
            return said in stacks("upgrade", "demo", STACK, "--install", values=values)

        await eventually(is_said)  # discovery follows a new definition within a moment
    finally:
        await stacks.namespace.delete(brought)


def definition_of(group: str) -> dict[str, Any]:
    """What a controller brings: some kind in a group of its own."""
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"somethings.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Something", "plural": "somethings"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


@pytest.mark.parametrize("file", sorted(STACK.glob("values-*.yaml")), ids=lambda file: file.stem)
async def test_the_api_server_takes_an_example_and_fills_in_the_rest(stacks: Cluster, file: Path) -> None:
    stacks("install", "demo", STACK, f"--values={file}", "--set=license.secretName=license")
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    assert stack["spec"]["gateway"]["capacity"] == 32


async def test_a_rule_of_the_definition_is_told_to_whoever_installs(stacks: Cluster) -> None:
    bounds = {"minReplicas": 3, "maxReplicas": 2}
    values = {**SPHINX, "license": {"jwt": JWT}, "gateway": {"autoscaling": bounds}}
    with pytest.raises(HelmError, match="minReplicas must not be above maxReplicas"):
        stacks("install", "demo", STACK, values=values)


async def test_a_stacks_release_lives_from_install_to_uninstall(stacks: Cluster) -> None:
    stacks("install", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}, "maxSessionSeconds": 60})
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    assert (stack["metadata"]["generation"], stack["spec"]["maxSessionSeconds"]) == (1, 60)
    assert "finalizers" not in stack["metadata"]

    stacks("upgrade", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}, "gateway": {"replicas": 3}})
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    assert (stack["spec"]["gateway"]["replicas"], stack["spec"]["maxSessionSeconds"]) == (3, 10_800)

    stacks("rollback", "demo", "1")
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    assert (stack["spec"]["gateway"]["replicas"], stack["spec"]["maxSessionSeconds"]) == (2, 60)

    stacks("uninstall", "demo")
    assert await stacks.of_stack("StreamingStack") is None
    assert await stacks.of_stack("Secret", "demo-license") is None


async def test_a_new_license_changes_the_secret_and_not_the_stack(stacks: Cluster) -> None:
    stacks("install", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}})
    stacks("upgrade", "demo", STACK, "--reuse-values", f"--set=license.jwt={NEW_JWT}")
    stack, secret = await stacks.of_stack("StreamingStack"), await stacks.of_stack("Secret", "demo-license")
    assert stack is not None
    assert secret is not None
    assert stack["metadata"]["generation"] == 1
    assert base64.b64decode(secret["data"]["license.jwt"]).decode() == NEW_JWT


async def test_an_upgrade_that_forgets_the_license_changes_nothing(stacks: Cluster) -> None:
    stacks("install", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}})
    with pytest.raises(HelmError, match="license: none given"):
        stacks("upgrade", "demo", STACK, values={**SPHINX, "gateway": {"replicas": 3}})
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    assert stack["spec"]["gateway"]["replicas"] == 2
    assert await stacks.of_stack("Secret", "demo-license")


async def test_a_stack_that_drains_keeps_its_license_after_uninstall_and_a_new_release_takes_it_over(
    stacks: Cluster,
) -> None:
    values = {**SPHINX, "license": {"jwt": JWT}, "drain": {"onDelete": True}}
    stacks("install", "demo", STACK, values=values)
    stack = await stacks.of_stack("StreamingStack")
    assert stack is not None
    await stacks.namespace.patch(stack, {"metadata": {"finalizers": [FINALIZER]}})  # as the operator does

    stacks("uninstall", "demo")
    draining = await stacks.of_stack("StreamingStack")
    assert draining is not None
    assert draining["metadata"]["deletionTimestamp"]
    assert await stacks.of_stack("Secret", "demo-license")

    await stacks.namespace.patch(stack, {"metadata": {"finalizers": None}})  # as the operator does
    stacks("install", "demo", STACK, values={**values, "license": {"jwt": NEW_JWT}})
    secret = await stacks.of_stack("Secret", "demo-license")
    assert secret is not None
    assert base64.b64decode(secret["data"]["license.jwt"]).decode() == NEW_JWT


async def test_a_drain_that_is_asked_for_later_keeps_the_license_too(stacks: Cluster) -> None:
    stacks("install", "demo", STACK, values={**SPHINX, "license": {"jwt": JWT}})
    stacks("upgrade", "demo", STACK, "--reuse-values", "--set=drain.onDelete=true")
    stacks("uninstall", "demo")
    assert await stacks.of_stack("Secret", "demo-license")
