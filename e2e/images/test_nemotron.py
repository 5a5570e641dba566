"""The image with torch, where it was built: locked up like the others, with a small model, on the CPU.

It takes gigabytes, so nothing builds it on the way: `hack/images build asr-nemotron`.
"""

import os
import shutil
import wave
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devcluster import product_images
from devcluster.cache import Cache
from devcluster.docker import Docker
from devcluster.steps import Steps
from support.asr_link import link
from support.service import TOKEN, write_credential

pytestmark = pytest.mark.timeout(900)

IMAGE = "asr-nemotron"
FIXTURES = product_images.ROOT / "tests/fixtures"
TINY = FIXTURES / "models/tiny"
CPU = {"DEVICE": "cpu", "MAX_OPEN_STREAMS": "4", "HOME": "/tmp"}  # noqa: S108 - the container's own
OPTIONS = ("--tmpfs", "/tmp:mode=1777", "--publish", "127.0.0.1::50051")  # noqa: S108


@pytest.fixture(scope="module")
def reference(docker: Docker) -> str:
    named = product_images.reference(IMAGE)
    if docker.image_id(named) is None:
        pytest.skip(f"{named} is not here: `hack/images build {IMAGE}` makes it, which takes gigabytes and minutes")
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    made_of = docker.capture("image", "inspect", "--format", label, named).strip()
    if made_of != product_images.revision(product_images.IMAGES[IMAGE].sources, product_images.ROOT):
        pytest.skip(
            f"{named} is of another revision, {made_of}: `hack/images build {IMAGE}` makes the one of this tree"
        )
    return named


@pytest.fixture(scope="module")
def asr(docker: Docker, reference: str, make_runner: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start containers of the image as the others are started."""
    secrets = tmp_path_factory.mktemp("secrets")
    write_credential(secrets).chmod(0o644)
    secrets.chmod(0o755)
    made = make_runner(docker, {IMAGE: reference}, secrets, label=f"streamstack-test={secrets}")
    try:
        yield made
    finally:
        made.clear()


def with_model(path: Path = TINY) -> tuple[str, ...]:
    return (*OPTIONS, "--volume", f"{path}:/models/tiny:ro")


def recording(name: str) -> bytes:
    with wave.open(str(FIXTURES / f"speech/{name}.wav")) as file:
        return file.readframes(file.getnframes())


async def heard(container: Any, pcm: bytes) -> str:
    """Stream a recording as one turn and return its words."""
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    async with link(container.endpoint(50051), metadata) as client:
        await client.open(1)
        await client.wait_reply(1, "opened")
        await client.stream(1, pcm)
        await client.end_turn(1, 0, len(pcm) // 2)
        await client.wait_reply(1, "turn_ended")
        return client.text(1).lower()


async def test_it_hears_what_was_said_as_an_unprivileged_user_that_can_write_nothing(asr: Any) -> None:
    container = asr.start(IMAGE, *with_model(), MODEL_DIR="/models/tiny", **CPU)
    container.until_health("healthy")
    assert container.users() == {"10001"}
    assert container.inspect("{{json .HostConfig.ReadonlyRootfs}}") is True
    assert await heard(container, recording("ace_of_spades")) == "ace of spades"
    container.signal("TERM")
    assert container.wait() == 0, container.log


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "there is no model: expected MODEL_DIR"),
        ({"MODEL_DIR": "/models/none"}, "/models/none: missing, expected a model folder"),
        ({"MODEL_DIR": "nvidia/nemotron-speech-streaming-en-0.6b"}, "is nowhere here, and is not fetched by name"),
        (
            {"MODEL_ARCHIVE": "https://models.test/a.tar", "MODEL_ARCHIVE_SHA256": "00" * 32, "MODEL_OFFLINE": "true"},
            "MODEL_OFFLINE forbids to fetch https://models.test/a.tar",
        ),
    ],
)
def test_without_a_model_it_ends_and_says_what_it_expected(
    asr: Any, environment: Mapping[str, str], complaint: str
) -> None:
    container = asr.start(IMAGE, *OPTIONS, **CPU, **environment)
    assert container.wait() != 0
    assert complaint in container.log
    assert "Traceback" not in container.log


def test_without_the_gpu_it_was_told_of_it_ends_and_says_what_it_needs(asr: Any) -> None:
    container = asr.start(IMAGE, *with_model(), MODEL_DIR="/models/tiny", **{**CPU, "DEVICE": "cuda"})
    assert container.wait() != 0
    assert "no NVIDIA driver is to be seen here" in container.log
    assert "needs a GPU of compute capability" in container.log
    assert "Traceback" not in container.log


def test_it_states_the_lowest_gpu_it_runs_on(docker: Docker, reference: str) -> None:
    command = ("--entrypoint", "python", reference, "-m", "streamstack_asr.engines.nemotron.gpu")
    _, out, _ = docker.attempt("run", "--rm", "--read-only", "--tmpfs", "/tmp", *command)  # noqa: S108
    assert "needs a GPU of compute capability 7.5 or higher and an NVIDIA driver of at least 580" in out


async def test_a_model_that_is_baked_in_is_served_without_being_named(
    asr: Any, docker: Docker, steps: Steps, tree: Path, reference: str
) -> None:
    assert reference
    shutil.copytree(TINY, tree / "models/tiny")
    image = product_images.IMAGES[IMAGE]
    env = {**os.environ, "MODEL_DIR": "models/tiny"}
    (built,) = product_images.build([image], docker=docker, cache=Cache(), steps=steps, env=env, root=tree)
    baked = replace(asr, references={IMAGE: built.reference})
    container = baked.start(IMAGE, *OPTIONS, **CPU)
    container.until_health("healthy")
    assert container.inspect("{{json .Mounts}}") == []
    assert await heard(container, recording("jack")) != ""
