"""Carries out what was planned for children: server-side apply where something differs, scale, delete.

An apply costs a request, so one is made only when what is wanted is not what was applied last, or when the child is not
what the API server answered then: edited or deleted by hand, or changed by somebody else (DESIGN 8).
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamstack_operator.cache import Cache
from streamstack_operator.facts import Manifest, ObjectKey, Problem, Scale, Stack
from streamstack_operator.kube import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    Kube,
    KubeError,
    NotFoundError,
    QuotaError,
)
from streamstack_operator.names import Reason
from streamstack_operator.owners import is_controlled_by

log = logging.getLogger(__name__)

VOLATILE: Final = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"})
"""Metadata that changes with every write, or never, and says nothing about what somebody wanted."""

DEPLOYMENT_REVISION: Final = "deployment.kubernetes.io/revision"
"""Written by the Deployment controller."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was asked for last, and what came of it."""

    wanted: str
    became: str


class Applier:
    """Applies children of all stacks; what it remembers is lost with the process, and applied once more then."""

    def __init__(self, kube: Kube, cache: Cache) -> None:
        self._kube = kube
        self._cache = cache
        self._applied: dict[tuple[str, ObjectKey], Applied] = {}

    async def apply(
        self, stack: Stack, manifests: Iterable[Manifest], objects: Mapping[ObjectKey, Manifest]
    ) -> tuple[Problem, ...]:
        """Apply what differs, in order; what the API server refused, one problem each. ApiUnavailableError ends it."""
        refusals = []
        for manifest in manifests:
            key = ObjectKey.of(manifest)
            if self._is_applied(stack, key, manifest, objects.get(key)):
                continue
            try:
                refusal = await self._apply(stack, key, manifest, known=key in objects)
            except (ForbiddenError, InvalidError, QuotaError, NotFoundError, ConflictError) as error:
                refusal = refused(key, error)
            if refusal is not None:
                refusals.append(refusal)
        return tuple(refusals)

    async def scale(self, stack: Stack, scales: Iterable[Scale]) -> tuple[Problem, ...]:
        """Write numbers of pods; refusals as with ``apply``."""
        refusals = []
        for scale in scales:
            try:
                await self._kube.scale(scale.key, scale.replicas, namespace=stack.namespace)
            except (ForbiddenError, InvalidError, QuotaError) as error:
                refusals.append(refused(scale.key, error))
            except (NotFoundError, ConflictError):
                log.info("%s: %s is gone or changes; its scale is written at the next pass", stack.key, scale.key)
        return tuple(refusals)

    async def delete(
        self, stack: Stack, keys: Iterable[ObjectKey], objects: Mapping[ObjectKey, Manifest]
    ) -> tuple[Problem, ...]:
        """Delete children, each only if it still is the one that was looked at."""
        refusals = []
        for key in keys:
            self._applied.pop((stack.uid, key), None)
            try:
                await self._kube.delete(key, namespace=stack.namespace, uid=objects[key]["metadata"]["uid"])
                log.info("%s: deleted %s", stack.key, key)
            except ForbiddenError as error:
                refusals.append(refused(key, error))
            except (NotFoundError, ConflictError):
                continue  # gone, or another one by now
        return tuple(refusals)

    def forget(self, uid: str) -> None:
        """Drop what is known of a stack that is gone."""
        self._applied = {key: applied for key, applied in self._applied.items() if key[0] != uid}

    def _is_applied(self, stack: Stack, key: ObjectKey, manifest: Manifest, now: Manifest | None) -> bool:
        applied = self._applied.get((stack.uid, key))
        if applied is None or now is None or "deletionTimestamp" in now["metadata"]:
            return False
        return applied == Applied(_digest(manifest), _digest(essence(now)))

    async def _apply(self, stack: Stack, key: ObjectKey, manifest: Manifest, *, known: bool) -> Problem | None:
        if not known:
            there = await self._kube.get(key, namespace=stack.namespace)
            if there is not None and not is_controlled_by(there, stack.uid):
                return Problem(
                    Reason.NAME_CLASH,
                    f"{key} is there and is not this stack's: rename it, or give the stack another name",
                )
        became = await self._kube.apply(manifest, namespace=stack.namespace)
        self._cache.upsert(became)
        self._applied[stack.uid, key] = Applied(_digest(manifest), _digest(essence(became)))
        log.info("%s: applied %s", stack.key, key)
        return None


def refused(key: ObjectKey, error: KubeError) -> Problem:
    """Return what a refusal of the API server means for a person."""
    match error:
        case QuotaError():
            return Problem(Reason.QUOTA, f"{key}: {error.message}: raise the namespace's quota, or ask for less")
        case ForbiddenError():
            return Problem(Reason.FORBIDDEN, f"{key}: {error.message}: grant the operator this, as its chart does")
        case NotFoundError():
            return Problem(Reason.REFUSED, f"{key}: {error.message}: this cluster does not serve {key.api_version}")
        case _:
            return Problem(Reason.REFUSED, f"{key}: {error.message}")


def essence(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of an object somebody may have wanted so: not its status, not numbers of pods, not its versions.

    The number of pods is the scale subresource's, and not part of what is applied.
    """
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in VOLATILE}
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(DEPLOYMENT_REVISION, None)
    spec = manifest.get("spec")
    if isinstance(spec, Mapping):
        spec = {name: value for name, value in spec.items() if name != "replicas"}
    rest = {name: value for name, value in manifest.items() if name not in {"metadata", "spec", "status"}}
    return {**rest, "metadata": {**metadata, "annotations": annotations}, "spec": spec}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
