"""A namespace with an operator at work: the real process on the real API server, and pods that are stood in for."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.aio.dynamic.exceptions import NotFoundError

from support.kubelet import Kubelet, kubelet
from support.namespaces import Namespace
from support.service import ServiceProcess, service, write_credential

API_VERSION = "streamstack.dev/v1alpha1"
KIND = "StreamingStack"
SETTLE_SECONDS = 60.0
"""Far beyond what a loaded machine needs; only a failing test waits this long."""

Object = dict[str, Any]


def stack(name: str = "demo", **spec: Any) -> Object:
    """A small stack; ``spec`` is merged into it."""
    wanted = {
        "license": {"secretName": f"{name}-license"},
        "gateway": {"replicas": 1},
        "pools": [{"name": "english", "engine": "Sphinx"}],
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": wanted | spec}


@dataclass
class Operated:
    """A namespace and who works in it."""

    namespace: Namespace
    kubelet: Kubelet
    folder: Path
    environment: Mapping[str, str]
    operators: list[ServiceProcess] = field(default_factory=list)

    async def apply(self, manifest: Object) -> Object:
        """Apply a stack as a person does with kubectl."""
        return await self.namespace.apply(manifest, manager="kubectl", force=True)

    async def give_license(self, name: str = "demo-license") -> None:
        """Make the Secret that a stack's license proxy mounts."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"license.jwt": "-"}}
        await self.namespace.create(secret)

    async def now(self, manifest: Object) -> Object:
        """Return a stack as it is now."""
        return await self.namespace.get(manifest)

    async def condition(self, manifest: Object, kind: str) -> dict[str, Any]:
        """Return one of a stack's conditions, empty while it has none."""
        conditions = ((await self.now(manifest)).get("status") or {}).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == kind), {})

    async def settles(self, manifest: Object, kind: str, *, status: str, reason: str | None = None) -> dict[str, Any]:
        """Wait until a condition says so of the present generation; returns it."""
        found: dict[str, Any] = {}

        async def says_so() -> bool:
            now = await self.now(manifest)
            found.clear()
            found.update(await self.condition(manifest, kind))
            return (
                found.get("status") == status
                and (reason is None or found.get("reason") == reason)
                and found["observedGeneration"] == now["metadata"]["generation"]
            )

        await self.until(says_so, why=lambda: f"{kind} is {found}")
        return found

    async def is_ready(self, manifest: Object) -> None:
        """Wait until a stack says that it is Ready, as it was applied last."""
        await self.settles(manifest, "Ready", status="True")

    async def gone(self, manifest: Object) -> None:
        """Wait until an object is there no more."""

        async def is_gone() -> bool:
            return not await self.namespace.exists(manifest)

        await self.until(is_gone, why=lambda: f"{manifest['kind']} {manifest['metadata']['name']} is there")

    async def active(self, manifest: Object, pool: str | None = None) -> str | None:
        """Return the active revision of a stack's gateways, or of a pool."""
        status = (await self.now(manifest)).get("status") or {}
        if pool is None:
            revision: str | None = status["gateway"].get("activeRevision")
            return revision
        return next((each.get("activeRevision") for each in status["pools"] if each["name"] == pool), None)

    async def until(self, holds: Callable[[], Any], *, why: Callable[[], str] = lambda: "") -> None:
        """Ask until it is so. AssertionError with what the operator logged when it never is."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while not await self._asked(holds):  # noqa: ASYNC110 - another process, which has no event for us
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logs = "\n".join(operator.log[-4000:] for operator in self.operators)
            raise AssertionError(f"{why()}\n{logs}") from None

    async def _asked(self, holds: Callable[[], Any]) -> bool:
        try:
            return bool(await holds())
        except NotFoundError:
            return False

    @asynccontextmanager
    async def operator(self, **environment: str) -> AsyncIterator[ServiceProcess]:
        """Run an operator for this namespace alone, with more settings than the namespace's own."""
        settings = {**self.environment, **environment}
        async with service(ServiceProcess, "streamstack_operator", folder=self.folder, environment=settings) as process:
            self.operators.append(process)
            await process.announced()
            yield process
            if process.process.returncode is None:
                assert await process.stop() == 0, process.log


def environment_of(namespace: Namespace, folder: Path) -> dict[str, str]:
    """Return the settings of an operator that looks after that namespace alone."""
    return {
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        "KUBECONFIG": str(namespace.kubeconfig),
        "NAMESPACES": namespace.namespace,
        "POD_NAMESPACE": namespace.namespace,
        "HOST": "127.0.0.1",
        "INTERNAL_PORT": "0",
        "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108 - of a machine without one
    }


@asynccontextmanager
async def operated(namespace: Namespace, folder: Path) -> AsyncIterator[Operated]:
    """Yield a namespace whose pods run; no operator yet."""
    async with kubelet(namespace) as running:
        yield Operated(namespace, running, folder, environment_of(namespace, folder))
