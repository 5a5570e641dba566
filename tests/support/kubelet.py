"""What kubelets would do for a stack's pods on a control plane alone: run them, at loopback addresses, and stop them.

Every pod that the controllers make is bound to a node, gets an address under 127.0.0.0/8 of its own, and a server there
that answers on the pod's real port what the real service would: ``/sessions``, or a license proxy's three, for callers
with a token that the stack's Secret holds. How many sessions a pod has is the test's to say, and what its journal
holds. A pod that is asked to stop goes when it has no session, as a gateway does.
"""

import asyncio
import base64
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from kubernetes.aio.dynamic.exceptions import ConflictError, NotFoundError

from support.namespaces import Namespace
from support.workloads import made_node

COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
REVISION = "streamstack.dev/revision"
PORTS = {"gateway": 8090, "asr": 8090, "license-proxy": 8080}
LOOK_AGAIN_SECONDS = 0.05

_addresses = itertools.count(1)


def _address() -> str:
    """Return a loopback address that no other pod of this run has: workers differ by process, pods by number."""
    number = next(_addresses)
    return f"127.{64 + os.getpid() % 128}.{number // 250}.{number % 250 + 1}"


@dataclass
class StandIn:
    """One pod, as the operator meets it. ``answers`` False is a pod that cannot be asked."""

    name: str
    component: str
    stack: str
    pool: str | None
    revision: str | None
    ip: str
    sessions: int = 0
    answers: bool = True
    license: dict[str, Any] = field(default_factory=lambda: {"state": "Connected", "billing": "usage"})
    backlog: dict[str, Any] = field(default_factory=lambda: {"records": 0, "oldest_seconds": None})
    ready: bool = True


@dataclass
class Kubelet:
    """Runs a namespace's pods. ``ready`` decides which of them become ready; by default all."""

    namespace: Namespace
    node: dict[str, Any]
    pods: dict[str, StandIn] = field(default_factory=dict)
    """By uid."""
    ready: Callable[[StandIn], bool] = lambda _pod: True
    problem: Callable[[StandIn], dict[str, Any] | None] = lambda _pod: None
    """A container status that keeps a pod from running."""
    _runners: dict[str, web.AppRunner] = field(default_factory=dict)
    _tokens: dict[str, set[str]] = field(default_factory=dict)

    def of(self, component: str, *, stack: str | None = None, revision: str | None = None) -> list[StandIn]:
        """Return the pods of a component, by name."""
        found = [
            pod
            for pod in self.pods.values()
            if pod.component == component
            and (stack is None or pod.stack == stack)
            and (revision is None or pod.revision == revision)
        ]
        return sorted(found, key=lambda pod: pod.name)

    async def run(self) -> None:
        """Look after the namespace's pods until cancelled."""
        while True:
            await self._read_credentials()
            seen = await self.namespace.list("v1", "Pod")
            for manifest in seen:
                await self._look_after(manifest)
            for uid in self.pods.keys() - {manifest["metadata"]["uid"] for manifest in seen}:
                await self._stop(uid)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def stop(self) -> None:
        """End every pod's server."""
        for uid in list(self.pods):
            await self._stop(uid)

    async def _read_credentials(self) -> None:
        for secret in await self.namespace.list("v1", "Secret"):
            content = (secret.get("data") or {}).get("credential")
            if content is not None:
                stack = secret["metadata"]["name"].removesuffix("-credential")
                self._tokens[stack] = set(base64.b64decode(content).decode().split())

    async def _look_after(self, manifest: dict[str, Any]) -> None:
        uid, labels = manifest["metadata"]["uid"], manifest["metadata"].get("labels") or {}
        if uid not in self.pods and labels.get(COMPONENT) in {*PORTS, "asr-lb"}:
            await self._start(manifest, labels)
        pod = self.pods.get(uid)
        if pod is None:
            return
        try:
            if "deletionTimestamp" in manifest["metadata"]:
                if pod.sessions == 0:
                    await self.namespace.delete(manifest, propagation="Background", grace_period_seconds=0)
            else:
                await self._report(manifest, pod)
        except (NotFoundError, ConflictError):
            return  # gone, or changed meanwhile: the next look sees it

    async def _start(self, manifest: dict[str, Any], labels: dict[str, str]) -> None:
        pod = StandIn(
            name=manifest["metadata"]["name"],
            component=labels[COMPONENT],
            stack=labels[INSTANCE],
            pool=labels.get("streamstack.dev/pool"),
            revision=labels.get(REVISION),
            ip=_address(),
        )
        self.pods[manifest["metadata"]["uid"]] = pod
        if pod.component in PORTS:

            async def answer(request: web.Request) -> web.StreamResponse:
                return self._answer(pod, request)

            app = web.Application()
            app.router.add_get("/{path:.*}", answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, pod.ip, PORTS[pod.component]).start()
            self._runners[manifest["metadata"]["uid"]] = runner
        target = {"apiVersion": "v1", "kind": "Node", "name": self.node["metadata"]["name"]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name}, "target": target}
        await self.namespace.create_under(manifest, "binding", binding)

    async def _report(self, manifest: dict[str, Any], pod: StandIn) -> None:
        """Say how the pod is, where that is news."""
        pod.ready = self.ready(pod)
        problem = self.problem(pod)
        ready = pod.ready and problem is None
        conditions = (manifest.get("status") or {}).get("conditions") or []
        known = {condition["type"]: condition["status"] for condition in conditions}
        if known.get("Ready") == str(ready) and not problem:
            return
        condition = {
            "type": "Ready",
            "status": str(ready),
            "lastTransitionTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        status: dict[str, Any] = {"phase": "Running", "conditions": [condition]}
        if problem is not None:
            status["containerStatuses"] = [problem]
        else:
            status |= {"podIP": pod.ip, "podIPs": [{"ip": pod.ip}]}
        await self.namespace.patch(manifest, {"status": status}, subresource="status")

    async def _stop(self, uid: str) -> None:
        self.pods.pop(uid)
        runner = self._runners.pop(uid, None)
        if runner is not None:
            await runner.cleanup()

    def _answer(self, pod: StandIn, request: web.Request) -> web.StreamResponse:
        if not pod.answers:
            return web.Response(status=503)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._tokens.get(pod.stack, set()):
            return web.Response(status=401)
        if pod.component == "license-proxy":
            return self._answer_of_proxy(pod, request.path)
        return web.json_response(
            {
                "instance_id": pod.name,
                "revision": pod.revision,
                "admission": "open",
                "generation": 0,
                "sessions": pod.sessions,
                "oldest_started_at": "2026-01-01T00:00:00Z" if pod.sessions else None,
                "capacity": 32,
                "max_sessions": 128,
                "pools": {},
            }
        )

    def _answer_of_proxy(self, pod: StandIn, path: str) -> web.StreamResponse:
        status = {"state": pod.license["state"], "last_successful_checkin": None, "trust_expiration": None}
        bodies = {"/v1/status": status, "/v1/license": status | pod.license, "/v1/usage/backlog": pod.backlog}
        return web.json_response(bodies[path]) if path in bodies else web.Response(status=404)


@asynccontextmanager
async def kubelet(namespace: Namespace) -> AsyncIterator[Kubelet]:
    """Run a namespace's pods for as long as the context lasts; what breaks it ends the test."""
    async with made_node(namespace) as node:
        it = Kubelet(namespace, node)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(it.run())
            try:
                yield it
            finally:
                running.cancel()
                await it.stop()
