"""What is read from pods, in the words that kubelets and schedulers of Kubernetes 1.36 use."""

from typing import Any

import pytest

from streamstack_operator.facts import PodFacts
from streamstack_operator.names import Component, Reason
from streamstack_operator.pods import pod_facts


def pod(name: str = "demo-gateway-1", *, labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    about = {"app.kubernetes.io/component": "gateway", "streamstack.dev/revision": "aa", "traffic": "on"}
    metadata = {"name": name, "uid": f"uid-{name}", "labels": about | (labels or {})}
    status = {"phase": "Running", **status}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "node"}, "status": status}


def one(manifest: dict[str, Any]) -> PodFacts:
    (facts,) = pod_facts([manifest])
    return facts


def waiting(reason: str, message: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "gateway", "image": "gone:1", "state": {"waiting": {"reason": reason, "message": message}}, **more}


def test_a_running_pod_is_read_as_it_is() -> None:
    ready = {"type": "Ready", "status": "True"}
    assert one(pod(podIP="192.0.2.7", conditions=[ready])) == PodFacts(
        name="demo-gateway-1",
        uid="uid-demo-gateway-1",
        component=Component.GATEWAY,
        pool=None,
        revision="aa",
        ip="192.0.2.7",
        ready=True,
        terminating=False,
        traffic=True,
    )


def test_a_pod_of_a_pool_taken_out_of_traffic_says_so() -> None:
    labels = {"app.kubernetes.io/component": "asr", "streamstack.dev/pool": "english", "traffic": "off"}
    facts = one(pod(labels=labels))
    assert (facts.component, facts.pool, facts.traffic) == (Component.ASR, "english", False)


def test_a_pod_that_goes_is_still_a_pod() -> None:
    manifest = pod(podIP="192.0.2.7")
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert one(manifest).terminating


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_evicted_pod_serves_nobody_and_holds_nothing_back(phase: str) -> None:
    assert pod_facts([pod(phase=phase)]) == ()


def test_pods_of_other_components_are_left_out() -> None:
    assert pod_facts([pod(labels={"app.kubernetes.io/component": "neighbour"})]) == ()


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                    }
                ],
            },
            Reason.UNSCHEDULABLE,
            "Insufficient nvidia.com/gpu",
        ),
        (
            {"containerStatuses": [waiting("ErrImageNeverPull", "not present")]},
            Reason.IMAGE_UNAVAILABLE,
            "gone:1: ErrImageNeverPull: not present",
        ),
        ({"containerStatuses": [waiting("ImagePullBackOff")]}, Reason.IMAGE_UNAVAILABLE, "the kubelet says no more"),
        (
            {"containerStatuses": [waiting("CreateContainerConfigError", 'secret "keys" not found')]},
            Reason.VOLUME_MISSING,
            'secret "keys" not found',
        ),
        (
            {
                "containerStatuses": [
                    waiting(
                        "CrashLoopBackOff",
                        restartCount=3,
                        lastState={"terminated": {"exitCode": 2, "reason": "Error"}},
                    )
                ]
            },
            Reason.CRASHING,
            "ended with status 2 (Error); see kubectl logs --previous demo-gateway-1",
        ),
    ],
    ids=["unschedulable", "image never pulled", "image back-off", "config", "crash loop"],
)
def test_what_keeps_a_pod_from_running_is_said_with_what_to_do(
    status: dict[str, Any], reason: Reason, said: str
) -> None:
    problem = one(pod(**status)).problem
    assert problem is not None
    assert problem.reason is reason
    assert said in problem.message


def test_a_pod_that_starts_for_the_first_time_has_no_problem() -> None:
    assert one(pod(phase="Pending", containerStatuses=[waiting("ContainerCreating")])).problem is None


def test_unknown_is_busy_only_where_a_process_may_be() -> None:
    """A pod without a node, or whose kubelet says that its container waits, serves nobody; silence says nothing."""
    unscheduled = pod()
    unscheduled["spec"] = {}
    crashed = waiting("CrashLoopBackOff", restartCount=3)
    runs = {"name": "gateway", "image": "it:1", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    assert [
        one(manifest).running
        for manifest in (
            unscheduled,
            pod(containerStatuses=[crashed]),
            pod(containerStatuses=[runs]),
            pod(phase="Pending"),
        )
    ] == [False, False, True, True]
