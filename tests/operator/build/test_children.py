"""What holds of everything that is rendered, whatever the spec."""

import json
import re
from copy import deepcopy

from hypothesis import given, settings

from streamstack_operator.facts import ObjectKey, Stack
from streamstack_operator.names import (
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_REVISION,
    LABEL_TRAFFIC,
    MANAGED_BY,
    Component,
)
from support import pod_security
from support.manifests import everything, of_kind, template, workloads
from support.stack_specs import SMALLEST, stack, stacks

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@settings(max_examples=40)
@given(stacks())
def test_replicas_stand_in_no_manifest_because_scale_is_their_only_writer(made: Stack) -> None:
    for workload in workloads(everything(made)):
        assert "replicas" not in workload["spec"]


@settings(max_examples=40)
@given(stacks())
def test_names_and_labels_are_what_kubernetes_takes_and_no_object_is_made_twice(made: Stack) -> None:
    rendered = everything(made)
    keys = [ObjectKey.of(manifest) for manifest in rendered]
    assert len(set(keys)) == len(keys)
    for manifest in rendered:
        assert DNS_LABEL.fullmatch(manifest["metadata"]["name"])
        labels = manifest["metadata"]["labels"]
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())


@settings(max_examples=40)
@given(stacks())
def test_every_child_says_whose_it_is_and_who_manages_it(made: Stack) -> None:
    for manifest in everything(made):
        about = manifest["metadata"]
        assert about["namespace"] == made.namespace
        assert about["labels"][LABEL_MANAGED_BY] == MANAGED_BY
        assert about["labels"][LABEL_INSTANCE] == made.name
        (owner,) = about["ownerReferences"]
        assert owner == {
            "apiVersion": "streamstack.dev/v1alpha1",
            "kind": "StreamingStack",
            "name": made.name,
            "uid": made.uid,
            "controller": True,
        }


@settings(max_examples=40)
@given(stacks())
def test_every_pod_is_restricted_keeps_nothing_on_a_disk_and_never_talks_to_the_api_server(made: Stack) -> None:
    for workload in workloads(everything(made)):
        pod = template(workload)["spec"]
        # Whether memory is limited is the spec's to say, and so is where the journal of usage is.
        ephemeral = ["volume journal is on the node's disk"] if made.spec.license.ephemeral else []
        found = [problem for problem in pod_security.violations(pod) if "memory limit" not in problem]
        component = template(workload)["metadata"]["labels"][LABEL_COMPONENT]
        if component == Component.ASR:
            # A model out of an archive: nothing that was heard.
            found = [problem for problem in found if problem != "volume models is on the node's disk"]
        assert found == (ephemeral if component == Component.LICENSE else []), workload["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == made.name
        assert pod.get("imagePullSecrets", []) == [{"name": name} for name in made.spec.images.pull_secrets]


def test_by_default_every_container_has_a_memory_limit() -> None:
    for workload in workloads(everything(stack())):
        assert pod_security.violations(template(workload)["spec"]) == []


@settings(max_examples=40)
@given(stacks())
def test_every_pod_is_found_by_its_owners_labels_and_by_its_workloads_selector(made: Stack) -> None:
    for workload in workloads(everything(made)):
        labels = template(workload)["metadata"]["labels"]
        selected = workload["spec"]["selector"]["matchLabels"]
        assert selected.items() <= labels.items()
        assert LABEL_TRAFFIC not in selected
        assert labels[LABEL_MANAGED_BY] == MANAGED_BY
        assert labels[LABEL_COMPONENT] in set(Component)


@settings(max_examples=40)
@given(stacks())
def test_services_of_revisions_select_one_revisions_pods_in_traffic(made: Stack) -> None:
    rendered = everything(made)
    for service in of_kind(rendered, "Service"):
        selected = service["spec"]["selector"]
        picked = [workload for workload in workloads(rendered) if _picks(selected, workload)]
        assert len(picked) == 1
        with_revision = LABEL_REVISION in picked[0]["metadata"]["labels"]
        assert (LABEL_TRAFFIC in selected) == (LABEL_REVISION in selected) == with_revision


@settings(max_examples=40)
@given(stacks())
def test_every_workload_has_one_disruption_budget_of_its_own(made: Stack) -> None:
    rendered = everything(made)
    budgets = of_kind(rendered, "PodDisruptionBudget")
    for workload in workloads(rendered):
        own = [budget for budget in budgets if _picks(budget["spec"]["selector"]["matchLabels"], workload)]
        assert [budget["metadata"]["name"] for budget in own] == [workload["metadata"]["name"]]
    assert len(budgets) == len(workloads(rendered))


@settings(max_examples=40)
@given(stacks())
def test_services_and_probes_name_ports_that_the_pods_have(made: Stack) -> None:
    rendered = everything(made)
    for service in of_kind(rendered, "Service"):
        (workload,) = (found for found in workloads(rendered) if _picks(service["spec"]["selector"], found))
        named = {port["name"] for port in template(workload)["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for workload in workloads(rendered):
        (container,) = template(workload)["spec"]["containers"]
        named = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in named


@settings(max_examples=40)
@given(stacks())
def test_the_same_spec_is_rendered_the_same_and_nothing_is_shared_between_manifests(made: Stack) -> None:
    first = everything(made)
    untouched = json.dumps(first)
    for manifest in everything(made):
        _spoil(manifest)
    assert json.dumps(first) == untouched
    assert json.dumps(everything(deepcopy(made))) == untouched


def test_names_of_the_longest_stack_and_pool_fit() -> None:
    spec = SMALLEST.model_copy(
        update={"pools": [SMALLEST.pools[0].model_copy(update={"name": "p" * 16, "model": "own"})]}
    )
    longest = max(len(manifest["metadata"]["name"]) for manifest in everything(stack(spec, name="s" * 30)))
    assert longest == 60


def _picks(selector: dict[str, str], workload: dict) -> bool:
    return selector.items() <= template(workload)["metadata"]["labels"].items()


def _spoil(part: object) -> None:
    """Change everything in it that can be changed."""
    if isinstance(part, dict):
        for value in part.values():
            _spoil(value)
        part["spoilt"] = True
    elif isinstance(part, list):
        for value in part:
            _spoil(value)
        part.append("spoilt")
