"""``examples/streamingstack.yaml`` as it is, with the steps that stand in it; first one balancer, then the other."""

import shutil
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from e2e.support.clients import run, sdk
from e2e.support.installed_operator import ROOT, Operator
from e2e.support.recordings import EXAMPLE, EXAMPLE_WORDS, words
from e2e.support.speaker import ENGLISH
from e2e.support.stack import Stack, eventually, own_namespace

from support.certificates import write_self_signed

MANIFEST = ROOT / "examples/streamingstack.yaml"
HOST = "localhost"
NAME = "demo"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def example(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield the example, applied."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copy(ROOT / ".env.example", folder)
    trial = await run(sys.executable, "-m", "streamstack_cli", "trial", f"--folder={folder}")
    assert trial.status == 0, trial.err
    authority, key = write_self_signed(folder, HOST)
    async with own_namespace(operator) as namespace:
        stack = Stack(operator, namespace, NAME, HOST, authority)
        files = [f"--from-file={folder / name}" for name in ("license.jwt", "license-keys.json")]
        await stack.kubectl("create", "secret", "generic", "demo-license", *files)
        await stack.kubectl("create", "secret", "tls", "demo-tls", f"--cert={authority}", f"--key={key}")
        await stack.kubectl("apply", f"--filename={MANIFEST}")
        await stack.ready()
        await stack.answers()
        yield stack


async def hears(stack: Stack) -> None:
    session = await sdk(stack.endpoint, EXAMPLE, speech_model=ENGLISH)
    assert set(words(" ".join(session.finals))) >= EXAMPLE_WORDS


async def line(stack: Stack) -> dict[str, str]:
    """What ``kubectl get sst`` shows, by column; a cell is what stands between two spaces or more."""
    head, row = (await stack.kubectl("get", "sst", NAME, "--output=wide")).splitlines()
    starts = [head.index(column) for column in head.split()]
    cells = [row[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return dict(zip(head.split(), cells, strict=True))


async def test_the_sdk_hears_a_recording_and_kubectl_tells_what_runs(example: Stack) -> None:
    await hears(example)

    async def is_told() -> bool:
        shown = await line(example)
        told = [shown[column] for column in ("READY", "GATEWAY", "ASR", "SESSIONS", "LICENSE")]
        return told == ["True", "2/2", "1/1", "0", "Ready"]

    await eventually(is_told, seconds=60)
    shown = await line(example)
    assert shown["REVISION"] == await example.revision("gateway")
    assert shown["VERSION"]
    assert shown["SUMMARY"]


async def test_the_sdk_hears_it_through_nginx_when_the_spec_asks_for_that_balancer(example: Stack) -> None:
    before = await example.revision("gateway")
    await example.change({"balancer": "Nginx", "nginx": {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}})

    async def is_flipped() -> bool:
        return await example.revision("gateway") != before

    await eventually(is_flipped)
    await example.ready()
    await hears(example)
    after = await example.revision("gateway")
    pods = await example.pods("gateway")  # those of the revision before may still be going
    [gateway, *_] = [pod for pod in pods if pod["metadata"]["labels"]["streamstack.dev/revision"] == after]
    assert f"{NAME}-asr-lb." in str(gateway["spec"]["containers"][0]["env"])


async def test_sealed_nothing_but_the_balancers_health_answers_without_a_credential(example: Stack) -> None:
    balancers = await example.pods("asr-lb")
    assert len(balancers) == 2
    [server] = await example.pods("asr")
    for balancer in balancers:
        health = f"http://{balancer['status']['podIP']}:8081"
        for path, expected in (("/nginx_health", 200), ("/", 404), ("/sessions", 404)):
            assert (await example.ask(server["metadata"]["name"], health + path, "without-credential"))[0] == expected
