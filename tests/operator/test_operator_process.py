"""The operator as a process, against a real API server and against none."""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamstack_operator.api_watch import ApiWatch
from streamstack_operator.kube import ApiUnavailableError, ForbiddenError, connect
from support.cut import line_to
from support.kubeconfig import kubeconfig_for, kubeconfig_through
from support.namespaces import Namespace
from support.service import TOKEN, ServiceProcess, call, service, write_credential
from support.waiting import eventually

LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "streamstack-operator"}}
MEGABYTES = 100
"""What the operator may take with one stack (issue 5); it is measured without one here, and in e2e with."""


@asynccontextmanager
async def operator_process(folder: Path, **environment: str) -> AsyncIterator[ServiceProcess]:
    settings = {
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        "HOST": "127.0.0.1",
        "INTERNAL_PORT": "0",
        "API_CHECK_SECONDS": "0.1",
        "CRD_CHECK_SECONDS": "0.2",
        **environment,
    }
    async with service(ServiceProcess, "streamstack_operator", folder=folder, environment=settings) as operator:
        yield operator


async def answers(operator: ServiceProcess, path: str) -> tuple[int, str]:
    return await call(operator.addresses["operator"] + path, token=None)


async def becomes_ready(operator: ServiceProcess) -> None:
    async def ready() -> bool:
        return (await answers(operator, "/readyz"))[0] == 200

    await eventually(ready)


async def leads(operator: ServiceProcess) -> None:
    async def is_leader() -> bool:
        return await metric(operator, "streamstack_operator_leader") == 1.0

    await eventually(is_leader)


async def metric(operator: ServiceProcess, name: str) -> float:
    _, text = await call(operator.addresses["operator"] + "/metrics", token=TOKEN)
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not among the metrics"
    return float(found[1])


def in_namespace(namespace: Namespace, **more: str) -> dict[str, str]:
    return {"KUBECONFIG": str(namespace.kubeconfig), "NAMESPACES": namespace.namespace, **more}


async def test_is_ready_and_says_so_in_metrics_while_it_sees_everything(namespace, stack_crd, tmp_path):
    async with operator_process(tmp_path, **in_namespace(namespace)) as operator:
        await operator.announced()
        await becomes_ready(operator)
        for name in ("api_server_usable", "crd_usable", "leader"):
            assert await metric(operator, f"streamstack_operator_{name}") == 1.0
        assert await metric(operator, 'streamstack_operator_api_requests_total{resource="pods",verb="list"}') >= 1
        assert await metric(operator, "process_resident_memory_bytes") < MEGABYTES * 1e6
        assert (await call(f"{operator.addresses['operator']}/metrics", token=None))[0] == 401
        assert (await answers(operator, "/healthz"))[0] == 200
        assert "Kubernetes 1." in operator.log
        assert await operator.stop() == 0
        assert "Traceback" not in operator.log


async def test_one_leads_another_is_ready_to_and_takes_over_when_the_first_is_killed(namespace, stack_crd, tmp_path):
    (folders := [tmp_path / name for name in ("first", "second")])[0].mkdir()
    folders[1].mkdir()
    environment = in_namespace(namespace, POD_NAMESPACE=namespace.namespace, LEASE_SECONDS="2", POD_NAME="operator-0")
    async with operator_process(folders[0], **environment) as first:
        await first.announced()
        await leads(first)
        async with operator_process(folders[1], **environment) as second:
            await second.announced()
            await becomes_ready(second)
            assert await metric(second, "streamstack_operator_leader") == 0.0
            first.kill()
            await leads(second)
            await becomes_ready(second)
            assert (await namespace.get(LEASE))["spec"]["holderIdentity"].startswith("operator-0_")
            assert await second.stop() == 0
    assert (await namespace.get(LEASE))["spec"].get("holderIdentity", "") == ""


async def test_one_whose_lease_was_taken_ends_with_an_error(namespace, stack_crd, tmp_path):
    environment = in_namespace(namespace, POD_NAMESPACE=namespace.namespace, LEASE_SECONDS="2")
    async with operator_process(tmp_path, **environment) as operator:
        await operator.announced()
        await leads(operator)
        await namespace.patch(LEASE, {"spec": {"holderIdentity": "usurper"}})
        assert await operator.wait() == 1
        assert "usurper holds lease" in operator.log


async def test_stays_up_while_the_api_server_is_away_and_is_ready_again_after_it(
    control_plane, namespace, stack_crd, tmp_path
):
    async with line_to(control_plane.api_port) as line:
        config = kubeconfig_through(tmp_path, namespace.kubeconfig, line.server)
        environment = in_namespace(namespace, POD_NAMESPACE=namespace.namespace, LEASE_SECONDS="2")
        async with operator_process(tmp_path, **{**environment, "KUBECONFIG": str(config)}) as operator:
            await operator.announced()
            await leads(operator)
            await becomes_ready(operator)
            line.cut()

            async def stands_down() -> bool:
                status, text = await answers(operator, "/readyz")
                leader = await metric(operator, "streamstack_operator_leader")
                return status == 503 and "does not answer" in text and leader == 0.0

            await eventually(stands_down)
            assert (await answers(operator, "/healthz"))[0] == 200
            line.mend()
            await becomes_ready(operator)
            await leads(operator)
            assert await operator.stop() == 0
            assert "Traceback" not in operator.log


async def test_is_alive_but_not_ready_while_the_api_server_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = kubeconfig_for(tmp_path, f"http://127.0.0.1:{port}")
    async with operator_process(tmp_path, KUBECONFIG=str(config)) as operator:
        await operator.announced()

        async def says_why() -> bool:
            status, text = await answers(operator, "/readyz")
            return status == 503 and "does not answer" in text

        await eventually(says_why)
        assert (await answers(operator, "/healthz"))[0] == 200
        assert await operator.stop() == 0


@pytest.mark.control_plane
async def test_without_a_crd_it_says_so_and_waits(own_control_plane, tmp_path):
    async with operator_process(tmp_path, KUBECONFIG=str(own_control_plane.kubeconfig)) as operator:
        await operator.announced()

        async def says_why() -> bool:
            status, text = await answers(operator, "/readyz")
            return status == 503 and "there is no CRD streamingstacks.streamstack.dev" in text

        await eventually(says_why)
        assert await metric(operator, "streamstack_operator_crd_usable") == 0.0
        assert await operator.stop() == 0
        assert operator.log.count("there is no CRD") == 1


@pytest.mark.parametrize(
    ("environment", "named"),
    [({}, "no KUBECONFIG"), ({"KUBECONFIG": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig")],
    ids=["neither pod nor kubeconfig", "kubeconfig that is not there"],
)
async def test_refuses_to_start_without_a_way_to_the_api_server(tmp_path, environment, named):
    async with operator_process(tmp_path, **environment) as operator:
        assert await operator.wait() == 2
        assert named in operator.log


async def test_an_answer_that_is_an_error_names_what_was_asked_and_why_not(tmp_path, serving):
    server = await connect(kubeconfig_for(tmp_path, await serving("/elsewhere", "")))
    async with server:
        with pytest.raises(ForbiddenError, match=r"/version: you may not"):
            await server.version()


class Answering:
    """An API server that says what it is told to."""

    def __init__(self) -> None:
        self.version_or_error: tuple[int, int] | Exception = (1, 36)

    async def version(self) -> tuple[int, int]:
        if isinstance(self.version_or_error, Exception):
            raise self.version_or_error
        return self.version_or_error


async def test_the_watch_tells_what_is_wrong_and_when_it_is_over(caplog):
    server, back = Answering(), []
    watch = ApiWatch(server, every_seconds=60, back=lambda: back.append(True))
    await watch.look()
    assert (watch.problem, back) == (None, [])  # it was not away before it was asked
    server.version_or_error = (1, 32)
    await watch.look()
    assert watch.problem == "the API server is Kubernetes 1.32, expected 1.33 or later"
    server.version_or_error = ApiUnavailableError("host", "gone")
    await watch.look()
    await watch.look()
    assert watch.problem == "host: gone"
    assert caplog.text.count("gone") == 1
    assert back == []
    server.version_or_error = (1, 33)
    await watch.look()
    await watch.look()
    assert watch.problem is None
    assert back == [True]
