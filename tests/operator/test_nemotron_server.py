"""A server as a pool's pod has it: engine Nemotron, started with the environment that the operator renders."""

import hashlib
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamstack_operator.checks import parse_spec
from support.asr_process import AsrProcess
from support.manifests import servers, variables
from support.service import service, write_credential
from support.stack_specs import stack
from support.tiny_model import MODEL

pytestmark = pytest.mark.nemotron

ON_LOOPBACK = {"HOST": "127.0.0.1", "SERVER_PORT": "0", "INTERNAL_PORT": "0"}


def environment_of(folder: Path, **fields: Any) -> dict[str, str]:
    """What the pod of a pool on CPUs is told, but for ports and the folders that its volumes would be."""
    pools = [{"name": "english", "gpu": {"count": 0}, "slots": 2, "precision": "Fp32", "chunkMs": 160} | fields]
    made = stack(parse_spec({"license": {"secretName": "license"}, "pools": pools}))
    told = variables(servers(made).deployment) | ON_LOOPBACK
    told |= {"STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)), "OMP_NUM_THREADS": "1"}
    if "MODEL_STORE" in told:
        told["MODEL_STORE"] = str(folder / "store")
    return told


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """The small model as an archive on a web server, as a pool names one."""
    file = tmp_path / "tiny.tar"
    with tarfile.open(file, "w") as made:
        made.add(MODEL, "tiny")
    app = web.Application()
    app.router.add_static("/models", tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/models/tiny.tar"
    yield {"url": url, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "addresses": ["127.0.0.1/32"]}
    await runner.cleanup()


async def is_ready(folder: Path, told: dict[str, str]) -> bool:
    async with service(AsrProcess, "streamstack_asr", folder=folder, environment=told) as server:
        await server.announced()
        async with aiohttp.ClientSession() as client, client.get(f"{server.internal}/readyz") as answer:
            return answer.status == 200


async def test_a_model_on_a_volume_is_served(tmp_path: Path) -> None:
    volume = {"claimName": "models", "mountPath": str(MODEL)}
    assert await is_ready(tmp_path, environment_of(tmp_path, modelVolume=volume))


async def test_a_model_in_an_archive_is_fetched_and_served(tmp_path: Path, archive: dict[str, Any]) -> None:
    assert await is_ready(tmp_path, environment_of(tmp_path, modelArchive=archive))
    (kept,) = (tmp_path / "store").rglob(f"archives/{archive['sha256']}")
    assert list(kept.rglob("config.json"))


async def test_a_pod_without_its_gpu_ends_and_says_so(tmp_path: Path) -> None:
    """As in a cluster whose device plugin lies: it does not go on, slowly, on the CPU."""
    told = environment_of(tmp_path, modelVolume={"claimName": "models", "mountPath": str(MODEL)}, gpu={"count": 1})
    told["CUDA_VISIBLE_DEVICES"] = ""
    with pytest.raises(RuntimeError, match=r"exited [1-9].*(GPU|CUDA|driver)"):
        await is_ready(tmp_path, told)
