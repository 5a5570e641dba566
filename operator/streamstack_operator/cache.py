"""What is watched, as last seen: stacks, their children and their pods, in memory.

Three sources feed it, in any order: watches, lists, and answers to what this operator wrote. The versions say which is
newer: they are numbers that grow with every write, and may be compared within a kind (KEP-5504).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from streamstack_operator.facts import Manifest, ObjectKey, StackKey
from streamstack_operator.names import API_VERSION, KIND, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY
from streamstack_operator.owners import controller_uid

REMEMBERED: Final = 4096
"""How many removals are remembered, so that a list or an answer from before does not bring an object back."""

Place = tuple[str, str, str, str]
"""apiVersion, kind, namespace, name."""


class Cache:
    """Objects by place, by controller, and pods by stack."""

    def __init__(self) -> None:
        self._objects: dict[Place, Manifest] = {}
        self._children: dict[str, set[Place]] = {}
        self._pods: dict[StackKey, set[Place]] = {}
        self._removed: dict[str, int] = {}
        """uid of what is gone: the version at which it went."""

    def upsert(self, manifest: Manifest) -> bool:
        """Take in an object; tells whether it is news. Without ``managedFields``, which nobody here reads."""
        place, version = _place(manifest), _version(manifest)
        if version <= self._removed.get(manifest["metadata"]["uid"], -1):
            return False
        known = self._objects.get(place)
        if known is not None and version <= _version(known):
            return False
        if known is not None:
            self._drop(place)
        metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
        self._keep(place, {**manifest, "metadata": metadata})
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Drop an object that is gone, or that our labels were taken from; tells whether it was known."""
        place, metadata = _place(manifest), manifest["metadata"]
        self._remember(metadata["uid"], _version(manifest))
        known = self._objects.get(place)
        if known is None or known["metadata"]["uid"] != metadata["uid"] or _version(known) > _version(manifest):
            return False
        self._drop(place)
        return True

    def replace(
        self, api_version: str, kind: str, manifests: Iterable[Manifest], *, namespace: str | None, at: str
    ) -> frozenset[StackKey]:
        """Take in all objects of a kind in a namespace, or in all, as they were at version ``at``.

        What is not among them is dropped, unless it is newer. Returns the stacks that this is news for.
        """
        listed = {_place(manifest): manifest for manifest in manifests}
        touched = {owner(manifest) for manifest in listed.values() if self.upsert(manifest)}
        for place, known in list(self._objects.items()):
            if place[:2] != (api_version, kind) or place in listed or namespace not in {None, place[2]}:
                continue
            if _version(known) <= int(at):
                self._remember(known["metadata"]["uid"], _version(known))
                self._drop(place)
                touched.add(owner(known))
        return frozenset(key for key in touched if key is not None)

    def stack(self, key: StackKey) -> Manifest | None:
        """Return a StreamingStack."""
        return self._objects.get((API_VERSION, KIND, key.namespace, key.name))

    def stacks(self) -> list[StackKey]:
        """Return all StreamingStacks, in order."""
        return sorted(StackKey(*place[2:]) for place in self._objects if place[:2] == (API_VERSION, KIND))

    def children(self, uid: str) -> Mapping[ObjectKey, Manifest]:
        """Return what the stack of that uid controls."""
        places = sorted(self._children.get(uid, ()))
        return {ObjectKey(place[0], place[1], place[3]): self._objects[place] for place in places}

    def pods(self, namespace: str, stack_name: str) -> list[Manifest]:
        """Return a stack's pods: ReplicaSets control them, so they are found by their labels."""
        return [self._objects[place] for place in sorted(self._pods.get(StackKey(namespace, stack_name), ()))]

    def _keep(self, place: Place, manifest: Manifest) -> None:
        self._objects[place] = manifest
        uid = controller_uid(manifest)
        if uid is not None:
            self._children.setdefault(uid, set()).add(place)
        if _is_pod(place):
            stack = owner(manifest)
            if stack is not None:
                self._pods.setdefault(stack, set()).add(place)

    def _drop(self, place: Place) -> None:
        manifest = self._objects.pop(place)
        uid, stack = controller_uid(manifest), owner(manifest)
        if uid is not None:
            _discard(self._children, uid, place)
        if _is_pod(place) and stack is not None:
            _discard(self._pods, stack, place)

    def _remember(self, uid: str, version: int) -> None:
        self._removed[uid] = max(version, self._removed.pop(uid, version))
        while len(self._removed) > REMEMBERED:
            self._removed.pop(next(iter(self._removed)))


def owner(manifest: Mapping[str, Any]) -> StackKey | None:
    """Return the stack that an object is, or belongs to by controller or by labels; None for anybody else's."""
    metadata = manifest["metadata"]
    if (manifest["apiVersion"], manifest["kind"]) == (API_VERSION, KIND):
        return StackKey(metadata["namespace"], metadata["name"])
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller") and (reference["apiVersion"], reference["kind"]) == (API_VERSION, KIND):
            return StackKey(metadata["namespace"], reference["name"])
    labels = metadata.get("labels") or {}
    if labels.get(LABEL_MANAGED_BY) == MANAGED_BY and LABEL_INSTANCE in labels:
        return StackKey(metadata["namespace"], labels[LABEL_INSTANCE])
    return None


def is_told_already(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Tell whether a stack differs from what was known of it in its status alone, which only the operator writes."""
    if before is None or (now["apiVersion"], now["kind"]) != (API_VERSION, KIND):
        return False
    return _asked(before) == _asked(now)


def _asked(stack: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a stack is somebody's wish: its generation stands for the spec."""
    names = ("uid", "generation", "deletionTimestamp", "annotations", "labels", "finalizers")
    return tuple(stack["metadata"].get(name) for name in names)


def _place(manifest: Mapping[str, Any]) -> Place:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"]


def _version(manifest: Mapping[str, Any]) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def _is_pod(place: Place) -> bool:
    return place[:2] == ("v1", "Pod")


def _discard(index: dict[Any, set[Place]], key: Any, place: Place) -> None:
    places = index[key]
    places.discard(place)
    if not places:
        del index[key]
