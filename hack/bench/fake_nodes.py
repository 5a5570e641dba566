"""Pods that run on paper: bound to a node by name, said to be ready, and answered for.

A control plane alone has no scheduler and no kubelet. Every pod gets an address of its own out of the range for
benchmarks (RFC 2544), which is made this machine's own for the time; one server answers at all of them as an idle
gateway, speech-recognition server and license proxy would. An operator sees what it sees in a cluster that is idle.
"""

import asyncio
import ipaddress
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from api_server import ApiServer
from machine import MachineError

from streamstack_common.license_status import STATUS_PATH, LicenseState, LicenseStatus
from streamstack_common.retirement import Admission
from streamstack_common.sessions_report import SessionsReport

NETWORK = ipaddress.ip_network("198.18.0.0/15")
NODE = "paper"
INTERNAL_PORT, LICENSE_PORT = 8090, 8080
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW_SECONDS = 10.0
AT_ONCE = 16


@contextmanager
def addresses() -> Iterator[None]:
    """Have the whole range lead to this machine itself. Raises MachineError for whoever may not change routes."""
    if os.geteuid() != 0:
        raise MachineError("pods' addresses are routes of this machine for the time: expected root")
    route = ("ip", "route", "replace", "local", str(NETWORK), "dev", "lo")
    subprocess.run(route, check=True)
    try:
        yield
    finally:
        subprocess.run(("ip", "route", "del", "local", str(NETWORK), "dev", "lo"), check=True)


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Answer for all pods, whatever their address and the credential that is shown."""
    application = web.Application()
    application.router.add_get("/sessions", _sessions)
    application.router.add_get(STATUS_PATH, _license)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        for port in (INTERNAL_PORT, LICENSE_PORT):
            # All addresses of the range, none of which is any interface's: the server has to listen on every one.
            await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - see above
        yield
    finally:
        await runner.cleanup()


async def _sessions(request: web.Request) -> web.Response:
    here = request.transport.get_extra_info("sockname")[0] if request.transport else ""
    report = SessionsReport(
        instance_id=here,
        revision="",
        admission=Admission.OPEN,
        generation=0,
        sessions=0,
        oldest_started_at=None,
        capacity=32,
        max_sessions=128,
        pools={},
    )
    return web.json_response(text=report.model_dump_json())


async def _license(_request: web.Request) -> web.Response:
    status = LicenseStatus(state=LicenseState.READY, last_successful_checkin=None, trust_expiration=None)
    return web.json_response(text=status.model_dump_json())


@asynccontextmanager
async def kubelets(api: ApiServer, namespace: str) -> AsyncIterator[None]:
    """Run every pod of a namespace as soon as it is made, and let go of those that are deleted."""
    await api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    tasks = [asyncio.create_task(_live(api)), asyncio.create_task(_run(api, namespace))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error


async def _live(api: ApiServer) -> None:
    """Renew the node's Lease: the pods of a node that does not are said to be not ready, then evicted (KEP-589)."""
    ready = {"type": "Ready", "status": "True", "reason": "OnPaper", "lastHeartbeatTime": _now(), "message": ""}
    await api.patch(f"/api/v1/nodes/{NODE}/status", {"status": {"conditions": [ready]}})
    spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE}, "spec": spec}
    await api.create(LEASES, lease)
    while True:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        await api.patch(f"{LEASES}/{NODE}", {"spec": {"renewTime": renewed}})
        await asyncio.sleep(RENEW_SECONDS)


async def _run(api: ApiServer, namespace: str) -> None:
    free = NETWORK.hosts()
    limit = asyncio.Semaphore(AT_ONCE)
    known: set[tuple[str, bool]] = set()

    async def limited(pod: dict[str, Any], address: str | None) -> None:
        async with limit:
            await (_start(api, pod, address) if address else api.remove(_path(pod)))

    async with asyncio.TaskGroup() as tasks:
        async for kind, pod in api.watch(f"/api/v1/namespaces/{namespace}/pods"):
            going = "deletionTimestamp" in pod["metadata"]
            if kind == "DELETED" or (pod["metadata"]["uid"], going) in known:
                continue
            known.add((pod["metadata"]["uid"], going))
            tasks.create_task(limited(pod, None if going else str(next(free))))


async def _start(api: ApiServer, pod: dict[str, Any], address: str) -> None:
    """Say what scheduler and kubelet would."""
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    metadata = {"name": pod["metadata"]["name"]}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
    await api.create(f"{_path(pod)}/binding", binding)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    await api.patch(f"{_path(pod)}/status", {"status": status})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _path(pod: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
