"""An operator with many stacks on a control plane alone: how soon a changed spec is in the children, at what cost.

Stacks have a gateway, two servers and a license proxy on paper (``fake_nodes``). *Scaled*: from the write of a pool's
``replicas`` to the watch event that shows the Deployment so. *Revised*: from the write of the gateways' ``capacity`` to
the event that shows the new revision's Deployment. Clock and watch are this script's own.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_nodes
from api_server import ApiServer, api_server
from operator_metrics import Samples, calls, megabytes, passes, samples, say, spread

from devcluster import control_plane
from devcluster.cache import Cache
from devcluster.steps import Steps
from streamstack_operator.crd import crd
from streamstack_operator.names import API_VERSION, KIND, LABEL_COMPONENT, LABEL_INSTANCE, PLURAL, Component
from support.service import ServiceProcess, call, service, write_credential

NAME = "operator-figures"
NAMESPACE = "many"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
STACKS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
MANY_MINUTES = 15.0
SETTLE_SECONDS = 30.0
"""What follows a start is over then: last statuses, a second listing of everything."""

Seen = Callable[[Mapping[str, Any]], bool]


class Deployments:
    """What a watch says of all Deployments; whoever waits is told at the event itself."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Seen, asyncio.Future[float]]] = {}

    async def follow(self, api: ApiServer) -> None:
        """Read the watch until cancelled."""
        async for _, deployment in api.watch(DEPLOYMENTS):
            stack = deployment["metadata"]["labels"][LABEL_INSTANCE]
            seen, future = self._waiting.get(stack, (None, None))
            if seen is not None and future is not None and not future.done() and seen(deployment):
                future.set_result(time.monotonic())

    async def seconds(self, stack: str, seen: Seen, change: Callable[[], Awaitable[object]]) -> float:
        """Make a change to a stack; the seconds until a Deployment of it is as ``seen`` says."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[stack] = seen, future
        began = time.monotonic()
        await change()
        return float(await future) - began


@dataclass(frozen=True, slots=True)
class Bench:
    """The operator under test, its API server, and the stacks' names."""

    api: ApiServer
    operator: ServiceProcess
    deployments: Deployments
    stacks: tuple[str, ...]

    async def figures(self) -> Samples:
        """The operator's metrics by name and labels."""
        _, text = await call(self.operator.addresses["operator"] + "/metrics", token=self.operator.token)
        return samples(text)

    async def scaled(self, stack: str, replicas: int) -> float:
        """Seconds from a pool's changed ``replicas`` to its Deployment's scale."""
        return await self.deployments.seconds(
            stack,
            lambda it: (
                it["metadata"]["labels"][LABEL_COMPONENT] == Component.ASR and it["spec"]["replicas"] == replicas
            ),
            lambda: self.api.patch(f"{STACKS}/{stack}", {"spec": {"pools": [_pool(replicas)]}}),
        )

    async def revised(self, stack: str, capacity: int) -> float:
        """Seconds from the gateways' changed ``capacity`` to the Deployment of a revision that was not there before."""
        found = await self.api.get(DEPLOYMENTS, labelSelector=f"{LABEL_INSTANCE}={stack}")
        before = {one["metadata"]["name"] for one in found["items"]}
        return await self.deployments.seconds(
            stack,
            lambda it: it["metadata"]["name"] not in before,
            lambda: self.api.patch(f"{STACKS}/{stack}", {"spec": {"gateway": {"capacity": capacity}}}),
        )

    async def settled(self) -> None:
        """Wait until every stack is Ready, says so of its present spec, and has one revision of everything."""
        async with asyncio.timeout(MANY_MINUTES * 60):
            while not all(map(_is_settled, (await self.api.get(STACKS))["items"])):  # noqa: ASYNC110 - one question for all
                await asyncio.sleep(2)


def _is_settled(stack: Mapping[str, Any]) -> bool:
    status = stack.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    components = [status.get("gateway", {}), *status.get("pools", [])]
    return (
        status.get("observedGeneration") == stack["metadata"]["generation"]
        and conditions.get("Ready") == "True"
        and all(len(one.get("revisions", [])) == 1 for one in components)
    )


def _component(child: Mapping[str, Any]) -> str:
    return str(child["metadata"]["labels"][LABEL_COMPONENT])


def _pool(replicas: int) -> dict[str, Any]:
    return {"name": "english", "engine": "Scripted", "replicas": replicas}


def _stack(name: str) -> dict[str, Any]:
    spec = {"license": {"secretName": "license"}, "gateway": {"replicas": 1}, "pools": [_pool(2)]}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


async def run(count: int, *, idle_seconds: float, changes: int) -> None:
    """Measure once, on a control plane that is made for it."""
    cache = Cache()
    steps = Steps(cache.logs / NAME)
    facts = control_plane.up(NAME, cache=cache, steps=steps, die_with=os.getpid())
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(fake_nodes.addresses())
            await stack.enter_async_context(fake_nodes.answering())
            await _measure(await _bench(stack, facts.kubeconfig, count), idle_seconds=idle_seconds, changes=changes)
    finally:
        control_plane.down(NAME, cache=cache, steps=steps)


async def _bench(stack: AsyncExitStack, kubeconfig: Path, count: int) -> Bench:
    """Make everything but the stacks."""
    api = await stack.enter_async_context(api_server(kubeconfig))
    await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd())
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "license"}, "stringData": {"license.jwt": "-"}}
    await api.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamstack-bench-")))
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "HOST": "127.0.0.1",
        "INTERNAL_PORT": "0",
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
    }
    started = service(ServiceProcess, "streamstack_operator", folder=folder, environment=environment)
    operator = await stack.enter_async_context(started)
    await operator.announced()
    await stack.enter_async_context(fake_nodes.kubelets(api, NAMESPACE))
    deployments = Deployments()
    following = asyncio.create_task(deployments.follow(api))
    stack.callback(following.cancel)
    return Bench(api, operator, deployments, tuple(f"stack-{number:03}" for number in range(count)))


async def _measure(bench: Bench, *, idle_seconds: float, changes: int) -> None:
    count = len(bench.stacks)
    began = time.monotonic()
    for name in bench.stacks:
        await bench.api.create(STACKS, _stack(name))
    await bench.settled()
    say(f"{count} stacks of 4 pods applied, until all are Ready", f"{time.monotonic() - began:.0f} s")
    await _idle(bench, idle_seconds)
    before = await bench.figures()
    turns = [(number // count, bench.stacks[number % count]) for number in range(changes)]
    scaled = [await bench.scaled(name, 3 + turn) for turn, name in turns]
    spread("one pool scaled after the other, until its Deployment shows it", scaled)
    revised = [await bench.revised(name, 33 + turn) for turn, name in turns]
    spread("one gateway template changed after the other, until its Deployment is there", revised)
    passes("passes meanwhile", before, await bench.figures())
    await bench.settled()
    before, began = await bench.figures(), time.monotonic()
    spread("all pools scaled at once", await asyncio.gather(*(bench.scaled(name, 1) for name in bench.stacks)))
    say("all at once: until the last one", f"{time.monotonic() - began:.1f} s")
    passes("passes meanwhile", before, await bench.figures())
    say("memory after all this", megabytes(await bench.figures()))


async def _idle(bench: Bench, seconds: float) -> None:
    """Let everything be; what the operator does all the same."""
    await asyncio.sleep(SETTLE_SECONDS)
    before, began = await bench.figures(), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed = await bench.figures(), time.monotonic() - began
    say("idle: memory", megabytes(after))
    cores = (after["process_cpu_seconds_total", ""] - before["process_cpu_seconds_total", ""]) / passed
    say("idle: cores", f"{cores:.2f}")
    per_minute = 60 / passed / len(bench.stacks)
    asked = calls(before, after)
    say("idle: API calls a stack and minute", f"{sum(asked.values()) * per_minute:.2f}")
    for what, number in sorted(asked.items(), key=lambda item: -item[1]):
        say(f"  {what}", f"{number * per_minute:.2f}")
    passes("idle: passes", before, after)
