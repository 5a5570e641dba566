"""What is known about a cluster between two commands: one folder per cluster in the cache."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devcluster.cache import Cache
from devcluster.errors import DevError

KIND = "kind"
CONTROL_PLANE = "control-plane"
FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A kind cluster.

    ``kubernetes`` is its version ("v1.36.3"), ``ingress_port`` where HTTPS answers on 127.0.0.1, ``fake_gpus`` how
    many each schedulable node claims, ``docker_env`` what reaches its engine, ``kubectl`` a client that fits,
    ``ingress_image`` the Traefik that goes with ``node_image``.
    ``ready`` is false while it is being made, and stays false when that was cut short.
    """

    name: str
    nodes: int
    kubernetes: str
    node_image: str
    ingress_port: int
    fake_gpus: int
    kubeconfig: Path
    kubectl: Path
    docker_env: Mapping[str, str]
    ingress_image: str
    ready: bool = False

    @property
    def network(self) -> str:
        """The Docker network of its nodes, its own."""
        return network(self.name)


def network(name: str) -> str:
    """Name the Docker network of a cluster's nodes."""
    return f"streamstack-{name}"


def folder(cache: Cache, name: str) -> Path:
    """Return the folder of a cluster's state."""
    return cache.clusters / name


def names(cache: Cache) -> list[str]:
    """Return the names of the clusters that have state, in order."""
    return sorted(path.parent.name for path in cache.clusters.glob(f"*/{FACTS}"))


def sort_of(cache: Cache, name: str) -> str | None:
    """Return what a cluster is, :data:`KIND` or :data:`CONTROL_PLANE`; ``None`` where there is none."""
    content = _read(cache, name)
    return None if content is None else str(content.get("kind"))


def kubeconfig(cache: Cache, name: str) -> Path:
    """Return the kubeconfig of a cluster of either sort; :class:`DevError` where there is none."""
    path = folder(cache, name) / "kubeconfig"
    if sort_of(cache, name) is None or not path.exists():
        raise DevError(f"no cluster {name} is up", do=f"hack/cluster up --name {name}")
    return path


def load(cache: Cache, name: str) -> ClusterFacts | None:
    """Return what is known about a kind cluster, ``None`` where nothing is."""
    content = _read(cache, name)
    if content is None or content.pop("kind", None) != KIND:
        return None
    try:
        paths = {"kubeconfig": Path(content["kubeconfig"]), "kubectl": Path(content["kubectl"])}
        return ClusterFacts(**{**content, **paths})
    except (KeyError, TypeError) as error:
        raise _unreadable(cache, name, repr(error)) from error


def save(cache: Cache, facts: ClusterFacts) -> None:
    """Keep what is known about a cluster, whole or not at all."""
    place = folder(cache, facts.name)
    place.mkdir(parents=True, exist_ok=True)
    content = {"kind": KIND, **asdict(facts), "kubeconfig": str(facts.kubeconfig), "kubectl": str(facts.kubectl)}
    new = place / f".{FACTS}"
    new.write_text(json.dumps(content, indent=2))
    new.rename(place / FACTS)


def forget(cache: Cache, name: str) -> None:
    """Drop what is known about a cluster; its logs stay."""
    for entry in (FACTS, f".{FACTS}", "kubeconfig"):
        (folder(cache, name) / entry).unlink(missing_ok=True)


def _read(cache: Cache, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads((folder(cache, name) / FACTS).read_text())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise _unreadable(cache, name, str(error)) from error
    if not isinstance(content, dict):
        raise _unreadable(cache, name, "expected an object")
    return content


def _unreadable(cache: Cache, name: str, reason: str) -> DevError:
    place = folder(cache, name)
    return DevError(
        f"{place / FACTS} cannot be read ({reason}): it was written by another version, or changed",
        do=f"remove {place}, then `hack/cluster down --name {name}` removes what runs of it",
    )
