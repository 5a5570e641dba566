"""Everything the operator asks of the API server: plain dicts in and out, errors with words."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from streamstack_operator.facts import Manifest, ObjectKey, StackEvent, StackKey
from streamstack_operator.kube.errors import ApiUnavailableError, ExpiredError, NotFoundError, refusal
from streamstack_operator.kube.events import event_manifest
from streamstack_operator.kube.kinds import EVENT, SECRET, STACK, Kind, find
from streamstack_operator.kube.transport import REQUEST_SECONDS, Access, Answer, Transport, open_transport
from streamstack_operator.names import API_VERSION, CHILD_MANAGER, KIND, STATUS_MANAGER

OLDEST_MINOR: Final = 33
"""The oldest Kubernetes 1.x whose API this operator is built for."""

PAGE: Final = 500
LIST_SECONDS: Final = 30.0
APPLY: Final = "application/apply-patch+yaml"
"""Server-side apply (KEP-555); JSON is YAML."""
MERGE: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""KEP-2334's predecessor in apimachinery: the object without spec, status and data."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list as of one moment; ``resource_version`` is that moment."""

    items: list[Manifest]
    resource_version: str


class Kube:
    """A connection to the API server; use it as an asynchronous context.

    Every method raises a :class:`~.errors.KubeError`: what it raises beside ``ApiUnavailableError`` and
    ``ForbiddenError`` is said at the method. ``requests`` counts what was asked, by verb and resource as RBAC has them.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.host = transport.host
        self.requests: Counter[tuple[str, str]] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def access(self) -> Access:
        """Return how to get to the API server: for kopf, which has connections of its own."""
        return await self._transport.access()

    async def version(self) -> tuple[int, int]:
        """Return the API server's version, such as ``(1, 36)``."""
        told = await self._read("/version")
        try:
            # Vendors append to the minor ("33+").
            return int(told["major"]), int("".join(filter(str.isdigit, told["minor"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ApiUnavailableError(self.host, "answered /version with something that is no version") from error

    async def served_schema(self) -> Mapping[str, Any] | None:
        """Return OpenAPI v3 of our API group as it is served; None while no CRD is."""
        try:
            return await self._read(f"/openapi/v3/apis/{API_VERSION}")
        except NotFoundError:
            return None

    async def get(self, key: ObjectKey, *, namespace: str) -> Manifest | None:
        """Return an object; None where there is none, or not even the kind."""
        try:
            return await self._ask("get", "GET", find(key.api_version, key.kind), namespace=namespace, name=key.name)
        except NotFoundError:
            return None

    async def exists(self, key: ObjectKey, *, namespace: str) -> bool:
        """Tell whether an object is there, without reading what is in it."""
        kind = find(key.api_version, key.kind)
        try:
            await self._ask("get", "GET", kind, namespace=namespace, name=key.name, accept=METADATA_ONLY)
        except NotFoundError:
            return False
        return True

    async def list(self, api_version: str, kind: str, *, namespace: str | None, labels: str) -> list[Manifest]:
        """Return objects of a namespace, or of all; each says its ``apiVersion`` and ``kind``, as in a list none does.

        Raises:
            KindMissingError: the kind is not served.

        """
        return (await self.snapshot(api_version, kind, namespace=namespace, labels=labels)).items

    async def snapshot(self, api_version: str, kind: str, *, namespace: str | None, labels: str) -> Snapshot:
        """Return what ``list`` does, and the version at which it was so."""
        while True:
            try:
                return await self._pages(find(api_version, kind), namespace=namespace, labels=labels)
            except ExpiredError:  # reading the pages took longer than etcd keeps their version: begin anew
                continue

    async def apply(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        """Server-side apply of a child; returns what became of it.

        Raises:
            InvalidError, QuotaError, ConflictError: it was refused.
            KindMissingError, NotFoundError: there is no such kind, or no such namespace.

        """
        key = ObjectKey.of(manifest)
        return await self._apply(
            find(key.api_version, key.kind), manifest, namespace=namespace, manager=CHILD_MANAGER, subresource=None
        )

    async def apply_status(self, key: StackKey, status: Mapping[str, Any]) -> Manifest:
        """Server-side apply of a stack's whole status. Raises NotFoundError, InvalidError."""
        about = {"name": key.name, "namespace": key.namespace}
        manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": about, "status": status}
        return await self._apply(STACK, manifest, namespace=key.namespace, manager=STATUS_MANAGER, subresource="status")

    async def scale(self, key: ObjectKey, replicas: int, *, namespace: str) -> None:
        """Set the number of pods. Raises NotFoundError, ConflictError, InvalidError."""
        await self._ask(
            "patch",
            "PATCH",
            find(key.api_version, key.kind),
            namespace=namespace,
            name=key.name,
            subresource="scale",
            query={"fieldManager": CHILD_MANAGER},
            body={"spec": {"replicas": replicas}},
            content_type=MERGE,
        )

    async def delete(self, key: ObjectKey, *, namespace: str, uid: str) -> None:
        """Delete an object if it still is the one of that uid; what it owns follows.

        Raises:
            NotFoundError: it is gone.
            ConflictError: it is another one by now.

        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        await self._ask(
            "delete",
            "DELETE",
            find(key.api_version, key.kind),
            namespace=namespace,
            name=key.name,
            body=options,
        )

    async def set_finalizers(self, key: StackKey, finalizers: Sequence[str], *, resource_version: str) -> None:
        """Set a stack's finalizers if it is still of that version. Raises ConflictError, NotFoundError."""
        change = {"metadata": {"finalizers": list(finalizers), "resourceVersion": resource_version}}
        await self._ask(
            "patch",
            "PATCH",
            STACK,
            namespace=key.namespace,
            name=key.name,
            query={"fieldManager": CHILD_MANAGER},
            body=change,
            content_type=MERGE,
        )

    async def create_event(self, about: Mapping[str, Any], event: StackEvent, *, now: datetime) -> None:
        """Make an Event about a stack. Raises NotFoundError when its namespace is gone."""
        manifest = event_manifest(about, event, now=now)
        await self._ask("create", "POST", EVENT, namespace=manifest["metadata"]["namespace"], body=manifest)

    async def events_of_pod(self, pod: str, *, reason: str, namespace: str) -> Sequence[str]:
        """Return the messages of a pod's Events with a reason, in the order they were made."""
        about = f"involvedObject.kind=Pod,involvedObject.name={pod},reason={reason}"
        query = {"fieldSelector": about, "limit": str(PAGE)}
        page = await self._ask("list", "GET", EVENT, namespace=namespace, query=query, seconds=LIST_SECONDS)
        found = sorted(page["items"], key=lambda event: str(event["metadata"].get("creationTimestamp")))
        return [str(event.get("message")) for event in found]

    async def create(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        """Make an object that is not there yet. Raises ConflictError when it is."""
        key = ObjectKey.of(manifest)
        return await self._ask(
            "create", "POST", find(key.api_version, key.kind), namespace=namespace, name=key.name, body=manifest
        )

    async def replace(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        """Write a whole object; with ``metadata.resourceVersion`` only over that version of it.

        Raises:
            ConflictError: it changed meanwhile.
            NotFoundError: it is gone.

        """
        key = ObjectKey.of(manifest)
        return await self._ask(
            "update", "PUT", find(key.api_version, key.kind), namespace=namespace, name=key.name, body=manifest
        )

    async def _apply(
        self, kind: Kind, manifest: Mapping[str, Any], *, namespace: str, manager: str, subresource: str | None
    ) -> Manifest:
        return await self._ask(
            "patch",
            "PATCH",
            kind,
            namespace=namespace,
            name=manifest["metadata"]["name"],
            subresource=subresource,
            query={"fieldManager": manager, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )

    async def _pages(self, kind: Kind, *, namespace: str | None, labels: str) -> Snapshot:
        items: list[Manifest] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            page = await self._ask("list", "GET", kind, namespace=namespace, query=query, seconds=LIST_SECONDS)
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return Snapshot(items, page["metadata"]["resourceVersion"])
            query = {**query, "continue": token}

    async def _ask(
        self,
        verb: str,
        method: str,
        kind: Kind,
        *,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> Manifest:
        """Ask for something about objects; ``verb`` as RBAC has it."""
        self.requests[verb, f"{kind.plural}/{subresource}" if subresource else kind.plural] += 1
        path = kind.path(namespace=namespace, name=None if method == "POST" else name, subresource=subresource)
        answer = await self._transport.request(
            method, path, query=query, body=body, content_type=content_type, accept=accept, seconds=seconds
        )
        what = f"{kind.kind} {name}" if name else f"{kind.plural} of {namespace or 'all namespaces'}"
        return self._content(answer, what=what, secret=kind == SECRET)

    async def _read(self, path: str) -> dict[str, Any]:
        self.requests["get", path] += 1
        return self._content(await self._transport.request("GET", path), what=f"{self.host}{path}")

    def _content(self, answer: Answer, *, what: str, secret: bool = False) -> dict[str, Any]:
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, answer.body, what=what, secret=secret)
        try:
            content = json.loads(answer.body)
        except ValueError as error:
            raise ApiUnavailableError(self.host, f"answered {what} with something that is no JSON") from error
        if not isinstance(content, dict):
            raise ApiUnavailableError(self.host, f"answered {what} with something that is no object")
        return content


async def connect(kubeconfig: Path | None) -> Kube:
    """Return a connection by the kubeconfig where one is given, by the pod's service account otherwise.

    Raises:
        KubeConfigError: neither is usable; the message names what was looked at.

    """
    return Kube(await open_transport(kubeconfig))
