"""What a pod says about itself, read from its object: where it belongs, whether it runs, and what keeps it from it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from streamstack_operator.facts import Manifest, PodFacts, Problem
from streamstack_operator.names import (
    LABEL_COMPONENT,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_TRAFFIC,
    TRAFFIC_OFF,
    Component,
    Reason,
)

IMAGE_REASONS: Final = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""Why a container waits for its image (kubernetes pkg/kubelet/images/types.go)."""

CONFIG_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Why a container cannot be made (kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go)."""

FINISHED: Final = frozenset({"Succeeded", "Failed"})
"""Phases of pods whose containers are over: evicted ones stay as objects, and serve nobody."""


def pod_facts(manifests: Iterable[Manifest]) -> tuple[PodFacts, ...]:
    """Return facts of the pods that may serve somebody, by name; those that are over are left out."""
    found = [_facts(pod) for pod in manifests if _status(pod).get("phase") not in FINISHED and _component(pod)]
    return tuple(sorted(found, key=lambda pod: pod.name))


def _facts(pod: Manifest) -> PodFacts:
    metadata, status = pod["metadata"], _status(pod)
    labels = metadata.get("labels") or {}
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        component=Component(labels[LABEL_COMPONENT]),
        pool=labels.get(LABEL_POOL),
        revision=labels.get(LABEL_REVISION),
        ip=status.get("podIP") or None,
        ready=_condition(pod, "Ready").get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        traffic=labels.get(LABEL_TRAFFIC) != TRAFFIC_OFF,
        problem=_problem(pod),
        running=_may_run(pod),
    )


def _component(pod: Manifest) -> bool:
    return (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT) in set(Component)


def _status(pod: Manifest) -> Mapping[str, Any]:
    return pod.get("status") or {}


def _condition(pod: Manifest, kind: str) -> Mapping[str, Any]:
    conditions = _status(pod).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _may_run(pod: Manifest) -> bool:
    """Tell whether a process of it may be there: not without a node, and not where its kubelet says that none is."""
    containers = _status(pod).get("containerStatuses") or []
    said_none = bool(containers) and not any("running" in (each.get("state") or {}) for each in containers)
    return bool((pod.get("spec") or {}).get("nodeName")) and not said_none


def _problem(pod: Manifest) -> Problem | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Problem(
            Reason.UNSCHEDULABLE,
            f"no node takes pod {pod['metadata']['name']}: {scheduled.get('message') or scheduled.get('reason')}",
        )
    return next(_container_problems(pod), None)


def _container_problems(pod: Manifest) -> Iterator[Problem]:
    name = pod["metadata"]["name"]
    for container in _status(pod).get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, said = waiting.get("reason"), waiting.get("message") or "the kubelet says no more"
        if reason in IMAGE_REASONS:
            yield Problem(Reason.IMAGE_UNAVAILABLE, f"pod {name}: image {container.get('image')}: {reason}: {said}")
        elif reason in CONFIG_REASONS:
            yield Problem(Reason.VOLUME_MISSING, f"pod {name}: {reason}: {said}")
        elif reason == "CrashLoopBackOff" or (container.get("restartCount", 0) > 0 and not container.get("ready")):
            yield Problem(Reason.CRASHING, f"pod {name} {_last_end(container)}; see kubectl logs --previous {name}")


def _last_end(container: Mapping[str, Any]) -> str:
    """How a container's last run ended; exit status 2 is how our services refuse a configuration."""
    for state in ("lastState", "state"):
        ended = (container.get(state) or {}).get("terminated")
        if ended:
            return f"ended with status {ended.get('exitCode')} ({ended.get('reason')})"
    return f"was restarted {container.get('restartCount')} times"
