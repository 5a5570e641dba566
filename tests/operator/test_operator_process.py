"""The operator as a process, against a real API server and against none."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamstack_operator.api_watch import ApiWatch
from streamstack_operator.kube import ApiUnavailableError, connect
from support.service import TOKEN, ServiceProcess, call, service, write_credential
from support.waiting import eventually


@asynccontextmanager
async def operator_process(folder: Path, **environment: str) -> AsyncIterator[ServiceProcess]:
    settings = {
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        "HOST": "127.0.0.1",
        "INTERNAL_PORT": "0",
        "API_CHECK_SECONDS": "0.1",
        **environment,
    }
    async with service(ServiceProcess, "streamstack_operator", folder=folder, environment=settings) as operator:
        yield operator


def kubeconfig_for(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: {server}}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )
    return path


@pytest.mark.control_plane
async def test_is_ready_and_says_so_in_a_metric_while_the_api_server_answers(control_plane, tmp_path):
    async with operator_process(tmp_path, KUBECONFIG=str(control_plane.kubeconfig)) as operator:
        await operator.announced()
        url = operator.addresses["operator"]

        async def ready() -> bool:
            return (await call(f"{url}/readyz", token=None))[0] == 200

        await eventually(ready)
        _, metrics = await call(f"{url}/metrics", token=TOKEN)
        assert "streamstack_operator_api_server_usable 1.0" in metrics
        assert (await call(f"{url}/metrics", token=None))[0] == 401
        assert "Kubernetes 1." in operator.log
        assert await operator.stop() == 0


async def test_is_alive_but_not_ready_while_the_api_server_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = kubeconfig_for(tmp_path, f"http://127.0.0.1:{port}")
    async with operator_process(tmp_path, KUBECONFIG=str(config)) as operator:
        await operator.announced()
        url = operator.addresses["operator"]

        async def says_why() -> bool:
            status, text = await call(f"{url}/readyz", token=None)
            return status == 503 and "does not answer" in text

        await eventually(says_why)
        assert (await call(f"{url}/healthz", token=None))[0] == 200
        assert await operator.stop() == 0


@pytest.mark.parametrize(
    ("environment", "named"),
    [({}, "no KUBECONFIG"), ({"KUBECONFIG": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig")],
    ids=["neither pod nor kubeconfig", "kubeconfig that is not there"],
)
async def test_refuses_to_start_without_a_way_to_the_api_server(tmp_path, environment, named):
    async with operator_process(tmp_path, **environment) as operator:
        assert await operator.wait() == 2
        assert named in operator.log


async def test_an_answer_that_is_an_error_names_its_status(tmp_path, aiohttp_refusal):
    server = await connect(kubeconfig_for(tmp_path, aiohttp_refusal))
    async with server:
        with pytest.raises(ApiUnavailableError, match=r"refused /version: 403"):
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
    server = Answering()
    watch = ApiWatch(server, every_seconds=60)
    assert watch.problem is not None
    server.version_or_error = (1, 32)
    await watch.look()
    assert watch.problem == "the API server is Kubernetes 1.32, expected 1.33 or later"
    server.version_or_error = ApiUnavailableError("gone")
    await watch.look()
    await watch.look()
    assert watch.problem == "gone"
    assert caplog.text.count("gone") == 1
    server.version_or_error = (1, 33)
    await watch.look()
    assert watch.problem is None
