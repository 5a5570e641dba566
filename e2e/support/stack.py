"""A stack that the operator made in a namespace of its own, and what a person would do to it with kubectl."""

import asyncio
import http.client
import json
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.support import manifests
from e2e.support.clients import Endpoint
from e2e.support.installed_operator import Operator
from e2e.support.manifests import POOL, STACK, Manifest
from e2e.support.neighbour import ASK

from support.certificates import write_self_signed

FIELD_MANAGER = "streamstack-e2e"
READY_SECONDS = 180.0
GONE_SECONDS = 180.0
ASK_AGAIN_SECONDS = 0.2
REVISION = "streamstack.dev/revision"
CHILDREN = (
    "deployments,replicasets,statefulsets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,ingresses,"
    "networkpolicies,poddisruptionbudgets,persistentvolumeclaims"
)


@dataclass(frozen=True, slots=True)
class Stack:
    """A StreamingStack: ``host`` is its name at the ingress, ``authority`` whom its clients trust."""

    operator: Operator
    namespace: str
    name: str
    host: str
    authority: Path

    @property
    def endpoint(self) -> Endpoint:
        """Where clients connect: through the ingress, by its name, with its certificate checked."""
        url = f"wss://{self.host}:{self.operator.ingress_port}"
        return Endpoint(url, {self.host: "127.0.0.1"}, self.authority)

    @property
    def what(self) -> str:
        """The stack, as kubectl is told about it."""
        return f"streamingstack/{self.name}"

    async def kubectl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run kubectl in the namespace; its standard output. DevError when it fails."""
        return await asyncio.to_thread(
            self.operator.kube.capture, f"--namespace={self.namespace}", *arguments, timeout_seconds=timeout_seconds
        )

    async def object(self, what: str) -> dict[str, Any]:
        """One object of the namespace: ``KIND/NAME``."""
        found: dict[str, Any] = json.loads(await self.kubectl("get", what, "--output=json"))
        return found

    async def objects(self, kinds: str, *selection: str) -> list[dict[str, Any]]:
        """Objects of the namespace, by name."""
        items = json.loads(await self.kubectl("get", kinds, *selection, "--output=json"))["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    async def status(self) -> dict[str, Any]:
        """What the operator says about the stack."""
        return (await self.object(self.what)).get("status", {})

    async def condition(self, name: str) -> dict[str, Any]:
        """A condition of the stack; an empty one before it is written."""
        conditions = (await self.status()).get("conditions", [])
        return next((one for one in conditions if one["type"] == name), {})

    async def revision(self, component: str) -> str:
        """Revision that new sessions go to: of gateways, or of the English pool (``asr``)."""
        return str(active(await self.status(), component)["activeRevision"])

    async def deployment(self, component: str) -> str:
        """Name of the active revision's Deployment (DESIGN 4)."""
        stem = {"gateway": f"{self.name}-gateway", "asr": f"{self.name}-asr-{POOL}"}[component]
        return f"{stem}-{await self.revision(component)}"

    async def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a component (gateway, asr, license-proxy, asr-lb) that nobody has asked to go, by name."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        pods = await self.objects("pods", f"--selector={selector}")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    async def deployments(self, component: str) -> dict[str, str]:
        """Revision to name of a component's Deployments."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        found = await self.objects("deployments", f"--selector={selector}")
        return {one["metadata"]["labels"][REVISION]: one["metadata"]["name"] for one in found}

    async def python(self, pod: str, program: str, *arguments: str) -> str:
        """Run a Python program in a pod; its standard output."""
        return (await self.kubectl("exec", pod, "--", "python", "-c", program, *arguments)).strip()

    async def ask(self, pod: str, url: str, how: str = "with-credential") -> tuple[int, str]:
        """Status and body of a GET from inside a pod."""
        answer = json.loads(await self.python(pod, ASK, url, how))
        return answer["status"], answer["body"]

    async def report(self, pod: str) -> dict[str, Any]:
        """Return ``/sessions`` of a gateway or a speech-recognition server."""
        status, body = await self.ask(pod, "http://localhost:8090/sessions")
        assert status == 200, body
        facts: dict[str, Any] = json.loads(body)
        return facts

    async def evict(self, pod: str) -> None:
        """Ask for a pod's eviction, as a drained node does; DevError where a budget forbids it."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        await asyncio.to_thread(self.operator.kube.capture, "create", "--raw", path, "-f-", stdin=json.dumps(eviction))

    async def change(self, spec: Mapping[str, Any]) -> None:
        """Merge into the stack's spec (RFC 7386), as ``kubectl patch`` and ``kubectl edit`` do."""
        await self.kubectl("patch", self.what, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    async def ready(self) -> None:
        """Wait for condition Ready of the spec as it is now; AssertionError with what is said when it never comes."""
        # kubectl holds a condition against the generation it was said of.
        await self._waited("wait", "--for=condition=Ready", self.what)

    async def rolled_out(self, component: str) -> None:
        """Wait until every replica of the active revision is ready."""
        await self._waited("rollout", "status", f"deployment/{await self.deployment(component)}")

    async def gone(self, what: str) -> None:
        """Wait until an object is no more."""
        await self._waited("wait", "--for=delete", what)

    async def _waited(self, *what: str) -> None:
        """Wait as kubectl does; AssertionError with what pods and Events say when it never comes."""
        arguments = (f"--namespace={self.namespace}", *what, f"--timeout={READY_SECONDS:g}s")
        attempt = self.operator.kube.attempt
        status, _, errors = await asyncio.to_thread(attempt, *arguments, timeout_seconds=READY_SECONDS + 10)
        if status != 0:
            raise AssertionError(f"kubectl {' '.join(what)}: {errors}\n{await self.told()}")

    async def told(self) -> str:
        """What there is to read when something is wrong."""
        looks = (
            ("get", self.what, "--ignore-not-found", "--output=yaml"),
            ("get", "pods", "--output=wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        )
        texts = [await self.kubectl(*look) for look in looks]
        return "\n".join(text[-3000:] for text in (*texts, await asyncio.to_thread(self.operator.log)))

    async def answers(self) -> None:
        """Wait until the ingress leads to a gateway: nothing announces that a controller has read a route."""

        async def healthy() -> bool:
            try:
                return (await asyncio.to_thread(self.get, "/v3/ws/health"))[0] == 200
            except (OSError, http.client.HTTPException):
                # Until it has the stack's certificate, the ingress shows one of its own.
                return False

        await eventually(healthy)

    def get(self, path: str, *, host: str | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """GET through the ingress, its certificate checked against ``authority`` and the stack's own name."""
        context = ssl.create_default_context(cafile=str(self.authority))
        port = self.operator.ingress_port
        connection = http.client.HTTPSConnection(host or self.host, port, timeout=10)
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        try:
            connection.sock = context.wrap_socket(raw, server_hostname=self.host)
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()
            raw.close()


def name_of(something: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(something["metadata"]["name"])


def active(status: Mapping[str, Any], component: str) -> Mapping[str, Any]:
    """Return the part of a stack's status that is about gateways, or about the English pool (``asr``)."""
    if component == "gateway":
        gateway: Mapping[str, Any] = status["gateway"]
        return gateway
    return next(pool for pool in status["pools"] if pool["name"] == POOL)


@asynccontextmanager
async def own_namespace(operator: Operator) -> AsyncIterator[str]:
    """Make a namespace; it is deleted at the end, with everything in it."""
    name = f"e2e-{secrets.token_hex(4)}"
    await apply(operator, manifests.namespace(name))
    try:
        yield name
    finally:
        await _remove(operator, name)


@asynccontextmanager
async def deployed(
    operator: Operator, folder: Path, *, engine: str, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[Stack]:
    """Have the operator make a stack in a namespace of its own; it is Ready, and the ingress leads to it."""
    async with own_namespace(operator) as namespace:
        yield await make(operator, folder, namespace=namespace, engine=engine, changes=changes)


async def make(
    operator: Operator,
    folder: Path,
    *,
    namespace: str,
    name: str = STACK,
    engine: str = "Scripted",
    changes: Mapping[str, Any] | None = None,
    license_secrets: Sequence[Manifest] = (),
    ready: bool = True,
) -> Stack:
    """Apply a stack and its Secrets; wait until it serves, unless it is not meant to.

    ``license_secrets`` take the place of the one with a throwaway license.
    """
    host = f"{name}.{namespace}.streamstack.test"
    authority, key_file = write_self_signed(folder, host)
    stack = Stack(operator, namespace, name, host, authority)
    given = license_secrets or (manifests.license_secret(namespace, folder, name=f"{name}-license"),)
    certificate = manifests.tls_secret(namespace, authority, key_file, name=f"{name}-tls")
    wanted = manifests.streaming_stack(namespace, name=name, host=host, engine=engine, changes=changes)
    await apply(operator, *given, certificate, wanted)
    if ready:
        await stack.ready()
        await stack.answers()
    return stack


async def apply(operator: Operator, *objects: Manifest) -> None:
    """Apply manifests as a person does."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    arguments = ("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "-f-")
    await asyncio.to_thread(operator.kube.capture, *arguments, stdin=text)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = READY_SECONDS) -> None:
    """Ask the cluster until it says so; there is no event to wait for. TimeoutError when it never does."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(ASK_AGAIN_SECONDS)


async def children(stack: Stack) -> set[str]:
    """Everything that is the stack's: ``kind/name``."""
    selector = f"--selector=app.kubernetes.io/instance={stack.name}"
    return set((await stack.kubectl("get", CHILDREN, selector, "--output=name")).split())


async def left(stack: Stack, remains: set[str]) -> None:
    """Wait until the stack and all of its children but ``remains`` are gone."""

    async def are_left() -> bool:
        return await children(stack) == remains

    await stack.gone(stack.what)
    await eventually(are_left)


async def _remove(operator: Operator, namespace: str) -> None:
    """Delete a namespace and wait until it is gone; nobody has to wait for its pods' graces any more."""

    async def kubectl(*arguments: str, timeout_seconds: float = 60) -> None:
        await asyncio.to_thread(operator.kube.capture, *arguments, timeout_seconds=timeout_seconds)

    whole = ("namespace", namespace, "--ignore-not-found")
    await kubectl("delete", *whole, "--wait=false")
    await kubectl("delete", "pods", "--all", f"--namespace={namespace}", "--grace-period=1", "--wait=false")
    await kubectl("delete", *whole, f"--timeout={GONE_SECONDS:g}s", timeout_seconds=GONE_SECONDS + 10)
