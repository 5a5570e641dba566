"""A namespace per test, and the calls its tests speak in: plain dicts in and out, as the operator will.

An object is named by a dict with ``apiVersion``, ``kind`` and ``metadata.name``: what was sent, or what came back.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.dynamic.exceptions import NotFoundError

from support.waiting import eventually

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """Somebody who talks to the API server, about ``namespace`` where a kind has namespaces.

    Refusals are the client's own errors by HTTP status (``kubernetes.aio.dynamic.exceptions``).
    """

    kube: DynamicClient
    namespace: str

    async def create(self, obj: Object) -> dict[str, Any]:
        return await (await self._kind(obj)).create(body=obj, namespace=self.namespace, serializer=_plain)

    async def apply(
        self, obj: Object, *, manager: str, force: bool = False, subresource: str | None = None
    ) -> dict[str, Any]:
        """Server-side apply (KEP-555) by field manager ``manager``, to an object or its ``subresource``."""
        return await self.kube.server_side_apply(
            await self._kind(obj, subresource),
            body=obj,
            namespace=self.namespace,
            field_manager=manager,
            force_conflicts=str(force).lower(),  # aiohttp takes no booleans in a query
            serializer=_plain,
        )

    async def get(self, obj: Object) -> dict[str, Any]:
        return await (await self._kind(obj)).get(
            name=obj["metadata"]["name"], namespace=self.namespace, serializer=_plain
        )

    async def list(self, api_version: str, kind: str, labels: str = "") -> list[dict[str, Any]]:
        resource = await self.kube.resources.get(api_version=api_version, kind=kind)
        found = await resource.get(namespace=self.namespace, label_selector=labels, serializer=_plain)
        return [
            {"apiVersion": api_version, "kind": kind, **item} for item in found["items"]
        ]  # a list's items do not say

    async def patch(self, obj: Object, change: Object, *, subresource: str | None = None) -> dict[str, Any]:
        """JSON merge patch (RFC 7386) of an object, or of its ``subresource``."""
        return await self.kube.patch(
            await self._kind(obj, subresource),
            body=change,
            name=obj["metadata"]["name"],
            namespace=self.namespace,
            content_type="application/merge-patch+json",
            serializer=_plain,
        )

    async def scale(self, obj: Object, replicas: int) -> None:
        await self.patch(obj, {"spec": {"replicas": replicas}}, subresource="scale")

    async def create_under(self, obj: Object, subresource: str, body: Object) -> dict[str, Any]:
        """POST to a subresource: a pod's binding, a service account's token."""
        return await (await self._kind(obj, subresource)).create(
            body=body, name=obj["metadata"]["name"], namespace=self.namespace, serializer=_plain
        )

    async def delete(
        self, obj: Object, *, propagation: str = "Background", grace_period_seconds: int | None = None
    ) -> None:
        grace = {} if grace_period_seconds is None else {"grace_period_seconds": grace_period_seconds}
        await (await self._kind(obj)).delete(
            name=obj["metadata"]["name"],
            namespace=self.namespace,
            propagation_policy=propagation,
            serializer=_plain,
            **grace,
        )

    async def exists(self, obj: Object) -> bool:
        try:
            await self.get(obj)
        except NotFoundError:
            return False
        return True

    async def _kind(self, obj: Object, subresource: str | None = None) -> Resource:
        kind = await self.kube.resources.get(api_version=obj["apiVersion"], kind=obj["kind"])
        return kind.subresources[subresource] if subresource else kind


@dataclass(frozen=True, slots=True)
class Namespace(Api):
    """A test's own namespace; the administrator talks."""

    kubeconfig: Path
    folder: Path

    @asynccontextmanager
    async def as_service_account(self, name: str) -> AsyncIterator[Api]:
        """Make a service account and talk as it, with a token that it was given (TokenRequest)."""
        account = await self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
        answer = await self.create_under(
            account, "token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        known = self.kube.configuration
        configuration = client.Configuration(
            host=known.host, api_key={"authorization": f"Bearer {answer['status']['token']}"}
        )
        configuration.ssl_ca_cert = known.ssl_ca_cert
        async with _talking(configuration, self.folder / f"discovery-of-{name}.json") as kube:
            yield Api(kube, self.namespace)


@asynccontextmanager
async def own_namespace(kubeconfig: Path, *, folder: Path) -> AsyncIterator[Namespace]:
    """Make a namespace whose service account is there, so that pods can be made; its deletion is not waited for."""
    configuration = client.Configuration()
    await config.load_kube_config(
        str(kubeconfig), client_configuration=configuration, temp_file_path=str(folder), persist_config=False
    )
    async with _talking(configuration, folder / "discovery.json") as kube:
        cluster = Api(kube, "")
        made = await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}})
        try:
            namespace = Namespace(kube, made["metadata"]["name"], kubeconfig, folder)
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            await eventually(lambda: namespace.exists(account))
            yield namespace
        finally:
            await cluster.delete(made)


@asynccontextmanager
async def _talking(configuration: client.Configuration, discovery: Path) -> AsyncIterator[DynamicClient]:
    """A client; what it discovers of the API is kept in a file of its own, never in one that another server left."""
    async with client.ApiClient(configuration) as transport, DynamicClient(transport, str(discovery)) as kube:
        yield kube


def _plain(_: DynamicClient, answer: dict[str, Any]) -> dict[str, Any]:
    return answer
