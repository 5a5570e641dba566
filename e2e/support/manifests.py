"""What a person applies for a stack: a namespace, Secrets, and a StreamingStack small enough for a test's machine."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamstack_cli import throwaway_license

API_VERSION = "streamstack.dev/v1alpha1"
STACK = "demo"
POOL = "english"

Manifest = dict[str, Any]


def namespace(name: str) -> Manifest:
    """A namespace that takes no pod with more rights than Pod Security "restricted" allows."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def streaming_stack(
    namespace: str, *, name: str = STACK, host: str, engine: str = "Scripted", changes: Mapping[str, Any] | None = None
) -> Manifest:
    """A stack with one gateway and two speech-recognition servers; ``changes`` are merged into its spec (RFC 7386)."""
    spec = {
        "license": {
            "secretName": f"{name}-license",
            "extraKeysKey": "extra-keys.json",
            "resources": _resources("100m", "128Mi"),
        },
        "gateway": {"replicas": 1, "resources": _resources("200m", "256Mi")},
        "pools": [pool(engine=engine)],
        "nginx": {"resources": _resources("50m", "64Mi")},
        "ingress": {
            "host": host,
            "className": "traefik",
            "profile": "Traefik",
            "tls": {"secretName": f"{name}-tls"},
        },
    }
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": "StreamingStack",
        "metadata": metadata,
        "spec": merged(spec, changes or {}),
    }


def pool(*, name: str = POOL, engine: str = "Scripted", **more: Any) -> Manifest:
    """A pool of two servers with five slots each, which is what a core carries of PocketSphinx."""
    spoken = {"name": name, "engine": engine, "replicas": 2, "slots": 5, "resources": _resources("200m", "512Mi")}
    return spoken | more


def license_secret(namespace: str, folder: Path, *, name: str = f"{STACK}-license") -> Manifest:
    """A throwaway license and the key that it was signed with."""
    made = throwaway_license.make(folder)
    return secret(namespace, name, {"license.jwt": made.license_file, "extra-keys.json": made.keys_file})


def tls_secret(namespace: str, certificate: Path, key: Path, *, name: str = f"{STACK}-tls") -> Manifest:
    """The ingress's certificate."""
    return secret(namespace, name, {"tls.crt": certificate, "tls.key": key}, kind="kubernetes.io/tls")


def merged(target: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7386): objects are merged, null removes, everything else replaces."""
    if not isinstance(change, Mapping):
        return change
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _resources(cpu: str, memory: str) -> Manifest:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": "2Gi"}}


def secret(namespace: str, name: str, files: Mapping[str, Path], *, kind: str = "Opaque") -> Manifest:
    """A Secret with the content of files."""
    data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}
