"""What all pods of a stack share: the restricted security context, volumes, probes, where they may run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.workload import EnvVar, Placement, Resources, Toleration
from streamstack_operator.names import credential

USER: Final = 10001
"""User and group that every image runs as (images/*/Dockerfile)."""

CREDENTIAL_FOLDER: Final = "/run/streamstack"
CREDENTIAL_KEY: Final = "credential"
TOKEN_KEY: Final = "token-key"  # noqa: S105 - a key's name
CREDENTIAL_FILE: Final = f"{CREDENTIAL_FOLDER}/{CREDENTIAL_KEY}"

READABLE_BY_GROUP: Final = 0o440
"""Mode of files from Secrets: the pod's ``fsGroup`` is how an unprivileged process reads them."""

KEPT: Final = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""Nobody empties a node of a busy pod; the operator lifts this for retired pods without a session (DESIGN 8)."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and where the container has it. ``source`` is what Kubernetes calls so, by its kind."""

    name: str
    source: Manifest
    mount_path: str
    read_only: bool = False
    sub_path: str | None = None

    def volume(self) -> Manifest:
        """Return the pod's part."""
        return {"name": self.name, **self.source}

    def mount(self) -> Manifest:
        """Return the container's part."""
        found: Manifest = {"name": self.name, "mountPath": self.mount_path}
        if self.read_only:
            found["readOnly"] = True
        if self.sub_path is not None:
            found["subPath"] = self.sub_path
        return found


def secret_volume(name: str, secret_name: str, mount_path: str, *, files: Mapping[str, str]) -> Volume:
    """Return a Secret's volume with these ``files``: file name to the Secret's key."""
    items = [{"key": key, "path": path} for path, key in files.items()]
    source = {"secretName": secret_name, "defaultMode": READABLE_BY_GROUP, "items": items}
    return Volume(name, {"secret": source}, mount_path, read_only=True)


def credential_volume(stack: Stack, *keys: str) -> Volume:
    """Return the volume with the stack's credential, and with those of its Secret's other ``keys`` that are needed."""
    files = {key: key for key in (CREDENTIAL_KEY, *keys)}
    return secret_volume("credential", credential(stack.name), CREDENTIAL_FOLDER, files=files)


def memory_volume(name: str, mount_path: str, size: int | str) -> Volume:
    """Return a volume in memory: nothing a stack hears touches a disk (DESIGN 3, sealed), and the root is read-only."""
    return Volume(name, {"emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}, mount_path)


def temporary(size: int | str = "64Mi") -> Volume:
    """Return ``/tmp``."""
    return memory_volume("tmp", "/tmp", size)  # noqa: S108 - the container's own


def environment(own: Mapping[str, str | None], given: Iterable[EnvVar] = ()) -> list[Manifest]:
    """Return a container's variables: ``own`` but for those that are None, then those of ``given`` that are not own.

    A name stands there once, as server-side apply asks for; of two given ones the later wins, as with a kubelet.
    """
    variables = [{"name": name, "value": value} for name, value in own.items() if value is not None]
    taken = {variable["name"] for variable in variables}
    further = {variable.name: _variable(variable) for variable in given if variable.name not in taken}
    return [*variables, *further.values()]


def _variable(variable: EnvVar) -> Manifest:
    if variable.secret_key_ref is None:
        return {"name": variable.name, "value": variable.value or ""}
    source = {"name": variable.secret_key_ref.name, "key": variable.secret_key_ref.key}
    return {"name": variable.name, "valueFrom": {"secretKeyRef": source}}


def probe(path: str, port: str, **more: int) -> Manifest:
    """Return an HTTP probe of a port by its name."""
    return {"httpGet": {"path": path, "port": port}, **more}


def probes(port: str, *, started: str, ready: str, alive: str, start_seconds: int) -> Manifest:
    """Return the three probes by path. Alive for as long as one of six answers: a busy process is not a dead one."""
    return {
        "startupProbe": probe(started, port, periodSeconds=1, failureThreshold=start_seconds),
        "readinessProbe": probe(ready, port, periodSeconds=2, timeoutSeconds=2),
        "livenessProbe": probe(alive, port, periodSeconds=10, timeoutSeconds=5, failureThreshold=6),
    }


def requests_and_limits(wanted: Resources, **extended: int) -> Manifest:
    """Return a container's resources; ``extended`` ones by name are limits, which are their requests too."""
    limits = {name: str(quantity) for name, quantity in wanted.limits.items()}
    limits |= {name: str(count) for name, count in extended.items()}
    requests = {name: str(quantity) for name, quantity in wanted.requests.items() if name not in extended}
    return {kind: dict(sorted(those.items())) for kind, those in (("requests", requests), ("limits", limits)) if those}


def container(
    stack: Stack,
    *,
    name: str,
    image: str,
    ports: Mapping[str, int],
    volumes: Sequence[Volume],
    **more: Any,
) -> Manifest:
    """Return a container as Pod Security "restricted" wants it. ``more`` are further fields as Kubernetes has them."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": str(stack.spec.images.pull_policy),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "ports": [{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in ports.items()],
        "volumeMounts": [volume.mount() for volume in volumes],
        **more,
    }


def pod_template(
    stack: Stack,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    selected: Mapping[str, str],
    main: Manifest,
    volumes: Sequence[Volume],
    placement: Placement,
    grace_seconds: int,
    runtime_class_name: str | None = None,
) -> Manifest:
    """Return a pod template with one container, ``main``.

    ``selected`` are the labels of the pods that are spread over nodes and zones together.
    """
    spec: Manifest = {
        "serviceAccountName": stack.name,
        # No pod of a stack talks to the API server.
        "automountServiceAccountToken": False,
        # Otherwise every Service becomes variables, and some services read names as common as HOST.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_placed(placement, selected),
        "containers": [main],
        "volumes": [volume.volume() for volume in volumes],
    }
    if runtime_class_name is not None:
        spec["runtimeClassName"] = runtime_class_name
    if stack.spec.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in stack.spec.images.pull_secrets]
    metadata = {"labels": dict(labels), "annotations": dict(sorted({**annotations, **KEPT}.items()))}
    return {"metadata": metadata, "spec": spec}


def _placed(placement: Placement, selected: Mapping[str, str]) -> Manifest:
    found: Manifest = {}
    if placement.node_selector:
        found["nodeSelector"] = dict(sorted(placement.node_selector.items()))
    if placement.tolerations:
        found["tolerations"] = [_toleration(toleration) for toleration in placement.tolerations]
    if placement.priority_class_name is not None:
        found["priorityClassName"] = placement.priority_class_name
    if placement.topology_spread:
        found["topologySpreadConstraints"] = [
            {
                "maxSkew": spread.max_skew,
                "topologyKey": spread.topology_key,
                "whenUnsatisfiable": str(spread.when_unsatisfiable),
                "labelSelector": {"matchLabels": dict(selected)},
            }
            for spread in placement.topology_spread
        ]
    return found


def _toleration(toleration: Toleration) -> Manifest:
    return toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
