"""What the Pod Security Standard "restricted" forbids, and what this project asks beyond it."""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a pod's spec, a line each."""
    return [*_of_pod(pod), *(problem for container in _containers(pod) for problem in _of_container(container))]


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "the pod may run as root, or has no numeric user"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    for namespace in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(namespace):
            yield namespace
    for volume in pod.get("volumes", ()):
        if not (volume.keys() - {"name"}) <= VOLUMES:
            yield f"volume {volume['name']}"
        if "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory":
            yield f"volume {volume['name']} is on the node's disk"


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    name, security = container["name"], container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name} has capabilities"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{name} may write its root"
    if security.get("privileged") or security.get("runAsUser") == 0:
        yield f"{name} is privileged"
    if not container.get("resources", {}).get("limits", {}).get("memory"):
        yield f"{name} has no memory limit"


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in ("initContainers", "containers"):
        yield from pod.get(group, ())
