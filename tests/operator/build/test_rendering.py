"""Which changes make a revision, and which do not (DESIGN 4, "Templates")."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_operator.build import asr, asr_pod, gateway
from streamstack_operator.build.rendering import NEWEST, RENDERERS, Rendered, UnknownRendererError, newest
from streamstack_operator.facts import Release, Stack
from streamstack_operator.model.pool import Engine
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import Rendering
from streamstack_operator.names import LABEL_REVISION, REVISION_LENGTH, Component
from support.manifests import gateways, main_container, servers, template, variables
from support.stack_specs import RELEASE, SMALLEST, stack, stacks

ENGLISH_AND_MULTILINGUAL = {"pools": [{"name": "english"}, {"name": "multilingual"}]}


def spec(**fields: Any) -> StreamingStackSpec:
    return StreamingStackSpec.model_validate(
        {"license": {"secretName": "license"}, "pools": [{"name": "english"}]} | fields
    )


def without_revision(rendered: Rendered) -> str:
    return json.dumps(template(rendered.deployment), sort_keys=True).replace(rendered.revision, "")


@settings(max_examples=40)
@given(stacks())
def test_a_revision_is_named_in_its_deployment_its_selector_its_pods_and_their_environment(made: Stack) -> None:
    for rendered in (gateways(made), *(servers(made, pool) for pool in made.spec.pools)):
        assert re.fullmatch(f"[0-9a-f]{{{REVISION_LENGTH}}}", rendered.revision)
        assert rendered.deployment["metadata"]["name"].endswith(f"-{rendered.revision}")
        for labels in (
            rendered.deployment["metadata"]["labels"],
            rendered.deployment["spec"]["selector"]["matchLabels"],
            template(rendered.deployment)["metadata"]["labels"],
        ):
            assert labels[LABEL_REVISION] == rendered.revision
        assert variables(rendered.deployment)["REVISION"] == rendered.revision


@settings(max_examples=40)
@given(stacks(), stacks())
def test_a_revision_is_another_one_exactly_when_the_template_is(first: Stack, second: Stack) -> None:
    other = stack(second.spec, namespace=first.namespace, name=first.name)
    for render in (gateways, servers):
        one, two = render(first), render(other)
        assert (one.revision == two.revision) == (without_revision(one) == without_revision(two))
        assert one.revision == render(stack(first.spec, namespace=first.namespace, name=first.name)).revision


@pytest.mark.parametrize(
    "fields",
    [
        {"gateway": {"replicas": 7}},
        {"gateway": {"autoscaling": {"maxReplicas": 9}}},
        {"gateway": {"disruption": {"maxUnavailable": 1}}},
        {"pools": [{"name": "english", "replicas": 3, "disruption": {"maxUnavailable": 2}}]},
        {"license": {"secretName": "another", "replicas": 2}},
        {"ingress": {"host": "calls.example", "profile": "Traefik"}},
        {"networkPolicies": {"enabled": False}},
        {"serviceAccount": {"annotations": {"own.example/role": "calls"}}},
        {"drain": {"maxDrainingRevisions": 5, "onDelete": True}},
        {"credential": {"rotateAfterSeconds": 3600}},
        {"nginx": {"replicas": 4}},
        {"images": {"balancer": "registry.example/nginx:1", "licenseProxy": "registry.example/proxy:1"}},
    ],
    ids=str,
)
def test_what_is_not_in_the_template_makes_no_revision(fields: dict[str, Any]) -> None:
    changed = stack(spec(**fields))
    assert gateways(changed).revision == gateways(stack()).revision
    assert servers(changed).revision == servers(stack()).revision


@pytest.mark.parametrize(
    ("fields", "of_gateways", "of_servers"),
    [
        ({"pools": [{"name": "english", "slots": 3}]}, False, True),
        ({"pools": [{"name": "english", "engine": "Sphinx"}]}, False, True),
        ({"pools": [{"name": "english", "model": "own"}]}, True, True),
        (ENGLISH_AND_MULTILINGUAL, True, False),
        ({"gateway": {"capacity": 5}}, True, False),
        ({"maxSessionSeconds": 60}, True, False),
        ({"drain": {"marginSeconds": 60}}, True, False),
        ({"balancer": "Nginx"}, True, False),
        ({"images": {"gateway": "registry.example/gateway:2"}}, True, False),
        ({"images": {"asrNemotron": "registry.example/asr:2"}}, False, True),
        ({"images": {"asrSphinx": "registry.example/asr:2"}}, False, False),
        ({"logging": {"level": "Debug"}}, True, True),
        ({"pools": [{"name": "english", "precision": "Fp32"}]}, False, True),
    ],
    ids=str,
)
def test_what_is_in_a_template_makes_a_revision_of_that_alone(
    fields: dict[str, Any], of_gateways: bool, of_servers: bool
) -> None:
    changed = stack(spec(**fields))
    assert (gateways(changed).revision != gateways(stack()).revision) is of_gateways
    assert (servers(changed).revision != servers(stack()).revision) is of_servers


def test_a_pools_own_change_leaves_the_other_pools_revision() -> None:
    before, after = (
        stack(spec(**ENGLISH_AND_MULTILINGUAL)),
        stack(spec(pools=[{"name": "english", "slots": 3}, {"name": "multilingual"}])),
    )
    assert servers(before, before.spec.pools[1]).revision == servers(after, after.spec.pools[1]).revision


def test_an_operator_upgrade_creates_no_revision() -> None:
    images = {name: image.replace("0.1.0", "0.2.0") for name, image in RELEASE.images.items()}
    newer = Release(version="0.2.0", renderer=NEWEST, images=images)
    kept = gateways(stack()).rendering
    assert gateway.render(stack(), kept) == gateways(stack())
    assert newest(newer, Component.GATEWAY) != kept
    assert gateways(stack(), newer).revision != gateways(stack()).revision


def test_gateways_of_renderer_2_know_their_peers_and_those_of_renderer_1_are_as_they_were() -> None:
    old, new = (gateways(stack(), replace(RELEASE, renderer=version)) for version in (1, 2))
    peers = {"GATEWAY_PEERS": "demo-gateway-peers.calls.svc.cluster.local"}
    assert variables(new.deployment) == variables(old.deployment) | peers | {"REVISION": new.revision}


def test_servers_on_gpus_of_renderer_3_have_shared_memory_and_caches_and_all_others_are_as_they_were() -> None:
    old, new = (servers(stack(), release=replace(RELEASE, renderer=version)) for version in (2, 3))
    told = variables(new.deployment)
    added = {"DEVICE": "cuda", **asr_pod.CACHES}
    assert told == variables(old.deployment) | added | {"REVISION": new.revision}
    volumes = [{volume["name"] for volume in template(each.deployment)["spec"]["volumes"]} for each in (old, new)]
    assert volumes[1] - volumes[0] == {"shm"}
    on_cpus = stack(spec(pools=[{"name": "english", "engine": "Sphinx"}]))
    old, new = (servers(on_cpus, release=replace(RELEASE, renderer=version)) for version in (2, 3))
    assert without_revision(old) == without_revision(new)


ARCHIVE = {"url": "https://models.example/english.tar", "sha256": "0" * 64, "addresses": ["192.0.2.0/24"]}


@pytest.mark.parametrize("version", RENDERERS)
@pytest.mark.parametrize(
    "fields", [{"modelArchive": ARCHIVE}, {"modelLicense": "OpenMDW-1.1"}, {"chunkMs": 160}, {"precision": "Auto"}]
)
def test_what_is_said_of_a_pool_is_heard_though_an_older_renderer_made_it(version: int, fields: dict[str, Any]) -> None:
    """Or else a stack from before an upgrade of the operator would go on without what its spec asks for."""
    release = replace(RELEASE, renderer=version)
    changed = stack(spec(pools=[{"name": "english"} | fields]))
    assert servers(changed, release=release).revision != servers(stack(), release=release).revision


def test_a_revision_runs_its_renderings_image_unless_the_spec_names_one() -> None:
    old = Rendering(version=1, image="streamstack/gateway:0.0.9")
    assert main_container(gateway.render(stack(), old).deployment)["image"] == old.image
    named = stack(spec(images={"gateway": "registry.example/gateway:2"}))
    assert main_container(gateway.render(named, old).deployment)["image"] == "registry.example/gateway:2"


@pytest.mark.parametrize(
    ("component", "engine", "image"),
    [
        (Component.GATEWAY, None, "gateway"),
        (Component.ASR, Engine.NEMOTRON, "asr-nemotron"),
        (Component.ASR, Engine.SPHINX, "asr-sphinx"),
        (Component.ASR, Engine.SCRIPTED, "asr-sphinx"),
        (Component.ASR, Engine.LOAD_TEST, "asr-sphinx"),
    ],
)
def test_a_new_revision_is_made_of_the_releases_image(component: Component, engine: Engine | None, image: str) -> None:
    assert newest(RELEASE, component, engine) == Rendering(version=3, image=RELEASE.images[image])


@pytest.mark.parametrize(
    "render",
    [
        lambda rendering: gateway.render(stack(), rendering),
        lambda rendering: asr.render(stack(), SMALLEST.pools[0], rendering),
    ],
)
def test_a_renderer_that_this_operator_does_not_have_is_refused_by_name(
    render: Callable[[Rendering], Rendered],
) -> None:
    with pytest.raises(
        UnknownRendererError, match=r"renderer 99: this operator has 1, 2, 3; expected an operator at least"
    ):
        render(Rendering(version=99, image="any"))


def test_the_newest_renderer_is_the_one_of_the_release_here() -> None:
    assert max(RENDERERS) == NEWEST == RELEASE.renderer
