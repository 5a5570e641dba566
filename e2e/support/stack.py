"""A stack from plain manifests in a namespace of its own, and what a person would do to it with kubectl."""

import asyncio
import base64
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.support.clients import Endpoint
from e2e.support.neighbour import ASK

from devcluster.cluster_state import ClusterFacts
from devcluster.kube import Kube
from streamstack_cli import throwaway_license
from streamstack_common import make_credential
from support.certificates import write_self_signed

MANIFESTS = Path(__file__).parents[1] / "stack/manifests"
FIELD_MANAGER = "streamstack-e2e"
STACK = "demo"
READY_SECONDS = 180.0
GONE_SECONDS = 180.0
ASK_AGAIN_SECONDS = 0.2
IMAGES = {"gateway": "IMAGE_GATEWAY", "asr-sphinx": "IMAGE_ASR_SPHINX", "license-proxy": "IMAGE_LICENSE_PROXY"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: names by DESIGN 4, ``host`` is its name at the ingress, ``authority`` whom its clients trust."""

    kube: Kube
    namespace: str
    revision: str
    host: str
    ingress_port: int
    authority: Path

    @property
    def gateway(self) -> str:
        """Name of the gateways' Deployment."""
        return f"{STACK}-gateway-{self.revision}"

    @property
    def asr(self) -> str:
        """Name of the English pool's Deployment."""
        return f"{STACK}-asr-english-{self.revision}"

    @property
    def endpoint(self) -> Endpoint:
        """Where clients connect: through the ingress, by its name, with its certificate checked."""
        return Endpoint(f"wss://{self.host}:{self.ingress_port}", {self.host: "127.0.0.1"}, self.authority)

    async def kubectl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run kubectl in the namespace; its standard output. DevError when it fails."""
        return await asyncio.to_thread(
            self.kube.capture, f"--namespace={self.namespace}", *arguments, timeout_seconds=timeout_seconds
        )

    async def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a component (gateway, asr, license-proxy) that nobody has asked to go, by name."""
        text = await self.kubectl("get", "pods", f"--selector=app.kubernetes.io/component={component}", "--output=json")
        pods = [pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

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
        await asyncio.to_thread(self.kube.capture, "create", "--raw", path, "-f-", stdin=json.dumps(eviction))

    async def scale(self, deployment: str, replicas: int) -> None:
        """Set a Deployment's replicas by the subresource, as the operator will, and wait until all are ready."""
        await self.kubectl("scale", f"deployment/{deployment}", f"--replicas={replicas}")
        await self.rolled_out(f"deployment/{deployment}")

    async def rolled_out(self, what: str) -> None:
        """Wait until every replica is ready; AssertionError with what the pods say when they never are."""
        arguments = (f"--namespace={self.namespace}", "rollout", "status", what, f"--timeout={READY_SECONDS:g}s")
        status, _, errors = await asyncio.to_thread(self.kube.attempt, *arguments, timeout_seconds=READY_SECONDS + 10)
        if status != 0:
            pods = await self.kubectl("get", "pods", "--output=wide")
            events = await self.kubectl("get", "events", "--sort-by=.lastTimestamp")
            raise AssertionError(f"{what} is not ready: {errors}\n{pods}\n{events[-3000:]}")

    def get(self, path: str, *, host: str | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """GET through the ingress, its certificate checked against ``authority`` and the stack's own name."""
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection(host or self.host, self.ingress_port, timeout=10)
        raw = socket.create_connection(("127.0.0.1", self.ingress_port), timeout=10)
        try:
            connection.sock = context.wrap_socket(raw, server_hostname=self.host)
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()
            raw.close()


@asynccontextmanager
async def deployed(
    cluster: ClusterFacts, folder: Path, *, images: Sequence[str], engine: str, asr_stop_grace_seconds: int = 60
) -> AsyncIterator[Stack]:
    """Deploy a stack with two speech-recognition servers into a namespace of its own, which is deleted at the end."""
    namespace = f"e2e-{secrets.token_hex(4)}"
    host = f"{namespace}.streamstack.test"
    authority, key_file = write_self_signed(folder, host)
    names = {IMAGES[name]: image for image in images if (name := _image_name(image)) in IMAGES}
    settings = {"ENGINE": engine, "ASR_STOP_GRACE_SECONDS": str(asr_stop_grace_seconds), **names}
    revision = _revision(settings)
    values = {"NAMESPACE": namespace, "STACK": STACK, "HOST": host, "REVISION": revision, **settings}
    stack = Stack(
        kube=Kube(cluster.kubectl, cluster.kubeconfig),
        namespace=namespace,
        revision=revision,
        host=host,
        ingress_port=cluster.ingress_port,
        authority=authority,
    )
    try:
        await _apply(stack, _manifest("namespace", values))
        await _apply(stack, _secrets(namespace, folder, certificate=authority, key=key_file))
        for name in ("license-proxy", "asr-english", "gateway", "ingress"):
            await _apply(stack, _manifest(name, values))
        await stack.scale(stack.asr, 2)
        await stack.rolled_out(f"statefulset/{STACK}-license-proxy")
        await stack.rolled_out(f"deployment/{stack.gateway}")
        await _answers(stack)
        yield stack
    finally:
        await _remove(stack)


async def _remove(stack: Stack) -> None:
    """Delete the namespace and wait until it is gone; nobody has to wait for its pods' graces any more."""
    whole = ("namespace", stack.namespace, "--ignore-not-found")
    await stack.kubectl("delete", *whole, "--wait=false")
    await stack.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
    await stack.kubectl("delete", *whole, f"--timeout={GONE_SECONDS:g}s", timeout_seconds=GONE_SECONDS + 10)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = READY_SECONDS) -> None:
    """Ask the cluster until it says so; there is no event to wait for. TimeoutError when it never does."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _apply(stack: Stack, manifests: str) -> None:
    arguments = ("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "-f-")
    await asyncio.to_thread(stack.kube.capture, *arguments, stdin=manifests)


async def _answers(stack: Stack) -> None:
    """Wait until the ingress leads to a gateway: nothing announces that a controller has read a route."""

    async def healthy() -> bool:
        try:
            return (await asyncio.to_thread(stack.get, "/v3/ws/health"))[0] == 200
        except (OSError, http.client.HTTPException):
            # Until it has the stack's certificate, the ingress shows one of its own.
            return False

    await eventually(healthy)


def _manifest(name: str, values: Mapping[str, str]) -> str:
    return string.Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(values)


def _revision(settings: Mapping[str, str]) -> str:
    """Name a revision by the hash of what its pods are made of (DESIGN 4, "Templates")."""
    templates = [(MANIFESTS / f"{name}.yaml").read_text() for name in ("gateway", "asr-english")]
    return hashlib.sha256(json.dumps([templates, sorted(settings.items())]).encode()).hexdigest()[:8]


def _secrets(namespace: str, folder: Path, *, certificate: Path, key: Path) -> str:
    """Secrets as an operator makes them: the stack's credential, its license, its certificate."""
    for name in ("credential", "token-key"):
        make_credential.make(folder / name)
    license_ = throwaway_license.make(folder)
    items = [
        _secret(namespace, f"{STACK}-credential", {name: folder / name for name in ("credential", "token-key")}),
        _secret(
            namespace,
            f"{STACK}-license",
            {"license.jwt": license_.license_file, "extra-keys.json": license_.keys_file},
        ),
        _secret(namespace, f"{STACK}-tls", {"tls.crt": certificate, "tls.key": key}, kind="kubernetes.io/tls"),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _secret(namespace: str, name: str, files: Mapping[str, Path], *, kind: str = "Opaque") -> dict[str, Any]:
    data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}


def _image_name(reference: str) -> str:
    return reference.rpartition("/")[2].partition(":")[0]
