"""Children that are no longer wanted: what an Ingress, a balancer or a pool that the spec had has left behind."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from streamstack_operator import names
from streamstack_operator.facts import Manifest, ObjectKey
from streamstack_operator.names import LABEL_COMPONENT, LABEL_POOL, LABEL_REVISION, Component

SWEPT: Final = frozenset(
    {"ConfigMap", "HTTPRoute", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
)
"""Kinds that hold neither sessions nor state. Pods, claims and Secrets are never deleted; Deployments of gateways and
pools only as revisions that have drained, and the balancer's by its name."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays though it is not applied: pools that drain, and revisions as (component, pool, revision)."""

    pools: Collection[str]
    revisions: Collection[tuple[str, str | None, str]]


def leftovers(
    stack: str, objects: Mapping[ObjectKey, Manifest], *, wanted: Collection[ObjectKey], kept: Kept
) -> Iterator[ObjectKey]:
    """Yield children of the stack of that name that may go."""
    for key, manifest in sorted(objects.items()):
        if key not in wanted and _may_go(stack, key, manifest) and not _is_kept(manifest, kept):
            yield key


def _may_go(stack: str, key: ObjectKey, manifest: Manifest) -> bool:
    if "deletionTimestamp" in manifest["metadata"]:
        return False
    return key.kind in SWEPT or (key.kind == "Deployment" and key.name == names.balancer(stack))


def _is_kept(manifest: Manifest, kept: Kept) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    component, pool, revision = (labels.get(label) for label in (LABEL_COMPONENT, LABEL_POOL, LABEL_REVISION))
    if revision is not None:
        return (component, pool, revision) in kept.revisions
    return component == Component.ASR and pool in kept.pools
