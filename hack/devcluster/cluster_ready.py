"""When a cluster is ready: nodes, and what makes them useful, each seen alive since its node last started."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from devcluster.docker import Docker, rows
from devcluster.errors import DevError
from devcluster.kube import Kube

READY_SECONDS = 120.0
DEPLOYMENTS = (
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
    ("traefik", "traefik"),
)
_NAMESPACES = ("kube-system", *(namespace for namespace, _ in DEPLOYMENTS[1:]))
_TO_THE_SECOND = len("2026-01-31T12:34:56")


def await_api(client: Kube) -> None:
    """Wait until the API server answers: nodes that were just started need a moment."""
    client.until(("get", "--raw=/readyz"), seconds=READY_SECONDS)


def await_ready(client: Kube, docker: Docker, *, nodes: Sequence[str]) -> None:
    """Wait until nodes, DNS, volumes and the ingress controller are ready; ``nodes`` are the containers' names."""
    timeout = f"--timeout={READY_SECONDS:g}s"
    longer = READY_SECONDS + 10
    client.capture("wait", "--for=condition=Ready", "nodes", "--all", timeout, timeout_seconds=longer)
    for namespace, deployment in DEPLOYMENTS:
        client.capture(
            "--namespace", namespace, "rollout", "status", f"deployment/{deployment}", timeout, timeout_seconds=longer
        )
    _await_fresh(client, started=_started(docker, nodes))


def not_fresh(pods: Sequence[Mapping[str, Any]], *, started: Mapping[str, str]) -> list[str]:
    """Name the pods that are not ready, or whose last word is older than their node.

    After a node stopped with its machine, the API server tells of its pods what was true before, until kubelet is
    back. ``started`` is when each node's container started (RFC 3339). What says so of a node's own static pods may
    take half a minute, and they prove themselves by answering.
    """
    return [
        pod["metadata"]["name"]
        for pod in pods
        if not _is_static(pod) and "deletionTimestamp" not in pod["metadata"] and not _is_fresh(pod, started)
    ]


def _is_static(pod: Mapping[str, Any]) -> bool:
    return any(owner["kind"] == "Node" for owner in pod["metadata"].get("ownerReferences", []))


def _is_fresh(pod: Mapping[str, Any], started: Mapping[str, str]) -> bool:
    since = started.get(pod["spec"].get("nodeName", ""), "")[:_TO_THE_SECOND]
    containers = pod["status"].get("containerStatuses", [])
    return bool(containers) and all(
        container["ready"] and container["state"].get("running", {}).get("startedAt", "")[:_TO_THE_SECOND] >= since
        for container in containers
    )


def _await_fresh(client: Kube, *, started: Mapping[str, str]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while waiting := not_fresh(
        [pod for namespace in _NAMESPACES for pod in client.objects("pods", f"--namespace={namespace}")],
        started=started,
    ):
        if time.monotonic() > deadline:
            raise DevError(
                f"not ready after {READY_SECONDS:g} s: {', '.join(waiting)}", do="look at `kubectl get pods -A`"
            )
        time.sleep(0.5)  # a watch would have to cover three namespaces, for what is over at once nearly always


def _started(docker: Docker, nodes: Sequence[str]) -> dict[str, str]:
    template = "{{.Name}} {{.State.StartedAt}}"
    pairs = (row.split() for row in rows(docker.capture("inspect", "--format", template, *nodes)))
    return {name.lstrip("/"): moment for name, moment in pairs}
