"""``compose.yaml`` for real: what a user types, real clients, real recordings, real restarts."""

import asyncio
import json
from pathlib import Path

import pytest
from e2e.compose.conftest import MakeProject
from e2e.support.clients import sdk, sdk_session, transcribe
from e2e.support.compose import Project, removed_after
from e2e.support.neighbour import ASK, DESCRIBE, FETCH, REACH, WRITE
from e2e.support.recordings import EXAMPLE, EXAMPLE_WORDS, words
from e2e.support.recordings import scripted as scripted_recording

from streamstack_cli import exit_codes

SERVICES = ("streaming-api", "streaming-asr-lb", "streaming-asr-english", "streaming-asr-multilang",
            "license-and-usage-proxy")  # fmt: skip
WITH_PYTHON = tuple(service for service in SERVICES if service != "streaming-asr-lb")
SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "how vexingly quick daft zebras jump",
    "sphinx of black quartz judge my vow",
)


@pytest.mark.parametrize("model", ["universal-streaming-english", "universal-streaming-multilingual"])
async def test_the_sdk_hears_a_recording_with_either_model(sphinx: Project, model: str) -> None:
    session = await sdk(await sphinx.endpoint(), EXAMPLE, speech_model=model)
    assert set(words(" ".join(session.finals))) >= EXAMPLE_WORDS


async def test_streamstack_transcribe_prints_the_words_of_a_recording(sphinx: Project) -> None:
    result = await transcribe(await sphinx.endpoint(), EXAMPLE)
    assert result.status == exit_codes.OK, result.err
    assert set(words(result.out)) >= EXAMPLE_WORDS


async def test_each_model_is_served_by_its_own_container(sphinx: Project) -> None:
    """The balancer routes; nobody answers for another."""

    async def served(service: str) -> float:
        answer = await sphinx.python(service, ASK, "http://localhost:8090/metrics", "with-credential")
        lines = json.loads(answer)["body"].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("streamstack_asr_opens_total"))

    before = [await served(service) for service in ("streaming-asr-english", "streaming-asr-multilang")]
    await sdk(await sphinx.endpoint(), EXAMPLE, speech_model="universal-streaming-multilingual")
    after = [await served(service) for service in ("streaming-asr-english", "streaming-asr-multilang")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [0, 1]


async def test_every_container_is_healthy_and_the_credential_was_made(sphinx: Project) -> None:
    states = {one["Service"]: (one["State"], one["Health"]) for one in await sphinx.containers()}
    assert states == {**dict.fromkeys(SERVICES, ("running", "healthy")), "credential": ("exited", "")}
    assert (await sphinx.inspect("credential"))["State"]["ExitCode"] == 0


async def test_a_second_up_changes_nothing(sphinx: Project) -> None:
    before = {one["ID"]: one["Service"] for one in await sphinx.containers()}
    await sphinx.do("up", "--wait")
    assert {one["ID"]: one["Service"] for one in await sphinx.containers()} == before


async def test_sealed_nothing_but_the_gateway_has_a_port_on_the_host(sphinx: Project) -> None:
    published = {}
    for service in SERVICES:
        ports = (await sphinx.inspect(service))["NetworkSettings"]["Ports"]
        published[service] = {port: [at["HostIp"] for at in bound] for port, bound in ports.items() if bound}
    assert published.pop("streaming-api") == {"8080/tcp": ["127.0.0.1"]}
    assert set(map(str, published.values())) == {"{}"}


@pytest.mark.parametrize(
    "url",
    [
        "http://streaming-api:8090/metrics",
        "http://streaming-api:8090/sessions",
        "http://streaming-asr-english:8090/sessions",
        "http://streaming-asr-multilang:8090/metrics",
        "http://license-and-usage-proxy:8080/v1/status",
    ],
)
async def test_sealed_an_internal_port_refuses_a_neighbour_without_the_credential(sphinx: Project, url: str) -> None:
    refused = json.loads(await sphinx.python("streaming-asr-english", ASK, url, "without-credential"))
    assert refused["status"] == 401
    allowed = json.loads(await sphinx.python("streaming-asr-english", ASK, url, "with-credential"))
    assert allowed["status"] == 200


@pytest.mark.parametrize("target", ["streaming-asr-lb:80", "streaming-asr-multilang:50051"])
async def test_sealed_speech_recognition_refuses_a_neighbour_without_the_credential(
    sphinx: Project, target: str
) -> None:
    answers = [
        (await sphinx.python("streaming-asr-english", DESCRIBE, target, "ml-default", how)).strip()
        for how in ("without-credential", "with-credential")
    ]
    assert answers == ["UNAUTHENTICATED", "answered"]


async def test_sealed_speech_recognition_has_no_way_out(sphinx: Project) -> None:
    networks = (await sphinx.inspect("streaming-api"))["NetworkSettings"]["Networks"]
    addresses = {name.rpartition("_")[2]: facts["IPAddress"] for name, facts in networks.items()}
    reached = {
        name: (await sphinx.python("streaming-asr-english", REACH, address, "8080")).strip()
        for name, address in addresses.items()
    }
    assert reached == {"inside": "connected", "edge": "not reached"}


@pytest.mark.parametrize("service", WITH_PYTHON)
async def test_no_container_runs_as_root_or_can_write_its_image(sphinx: Project, service: str) -> None:
    assert (await sphinx.python(service, WRITE, "/app/new")).strip() == "10001 Read-only file system"
    assert (await sphinx.python(service, WRITE, "/tmp/new")).strip() == "10001 written"  # noqa: S108 - the container's
    assert (await sphinx.python(service, WRITE, "/run/streamstack/new")).strip() == "10001 Read-only file system"


async def test_temporary_tokens_work(sphinx: Project) -> None:
    answer = await sphinx.python("streaming-api", FETCH, "http://localhost:8080/v3/token?expires_in_seconds=60")
    assert json.loads(answer)["token"]


@pytest.mark.parametrize("how", [("restart",), ("restart", "--timeout", "0")], ids=["asked", "killed"])
async def test_no_word_lost_when_speech_recognition_is_restarted_in_mid_stream(
    scripted: Project, tmp_path: Path, how: tuple[str, ...]
) -> None:
    recording = scripted_recording(tmp_path, *SENTENCES * 2)
    before = (await scripted.inspect("streaming-asr-english"))["State"]["StartedAt"]
    async with sdk_session(await scripted.endpoint(), recording, speech_model="universal-streaming-english") as session:
        await session.until(lambda it: len(it.finals) >= 2 and not it.turns[-1]["end"])
        await scripted.do(*how, "streaming-asr-english")
        assert not session.over, "the recording was over before the restart was: nothing is proved"
        await session.finished()
    assert (await scripted.inspect("streaming-asr-english"))["State"]["StartedAt"] != before
    assert session.finals == list(SENTENCES * 2)


async def test_no_word_lost_when_the_balancer_is_restarted_in_mid_stream(scripted: Project, tmp_path: Path) -> None:
    recording = scripted_recording(tmp_path, *SENTENCES * 2)
    async with sdk_session(await scripted.endpoint(), recording, speech_model="universal-streaming-english") as session:
        await session.until(lambda it: len(it.finals) >= 2)
        await scripted.do("restart", "--timeout", "1", "streaming-asr-lb")
        assert not session.over
        await session.finished()
    assert session.finals == list(SENTENCES * 2)


async def test_no_cut_a_stopped_gateway_lets_its_live_session_finish(scripted: Project, tmp_path: Path) -> None:
    recording = scripted_recording(tmp_path, *SENTENCES)
    async with sdk_session(await scripted.endpoint(), recording, speech_model="universal-streaming-english") as session:
        await session.until(lambda it: it.finals)
        stopping = asyncio.create_task(scripted.run("stop", "streaming-api"))
        await session.finished()
    assert session.finals == list(SENTENCES)
    assert (await stopping).status == 0
    assert (await scripted.inspect("streaming-api"))["State"]["ExitCode"] == 0
    await scripted.do("up", "--wait")


async def test_sealed_nothing_said_is_in_any_log(scripted: Project, tmp_path: Path) -> None:
    recording = scripted_recording(tmp_path, "xylophonequartz zephyrjukebox")
    session = await sdk(await scripted.endpoint(), recording, speech_model="universal-streaming-multilingual")
    assert session.words == ["xylophonequartz", "zephyrjukebox"]
    logs = await scripted.do("logs", "--no-color")
    assert "streaming-asr-multilang" in logs
    assert "xylophone" not in logs
    assert "jukebox" not in logs


async def test_the_token_outlives_down_and_up_and_goes_with_the_volumes(make_project: MakeProject) -> None:
    read = "print(open('/run/streamstack/credential').read())"
    async with removed_after(make_project()) as project:
        tokens = []
        for down in (("down", "--timeout", "1"), ("down", "--timeout", "1", "--volumes"), ()):
            await project.do("up", "--wait", "license-and-usage-proxy")
            tokens.append(await project.python("license-and-usage-proxy", read))
            if down:
                await project.do(*down)
    assert tokens[0] == tokens[1]
    assert tokens[1] != tokens[2]


async def test_down_with_volumes_leaves_nothing(make_project: MakeProject) -> None:
    """Of containers that never ran, too; that nothing stays of those that did, the fixture ``sphinx`` checks."""
    project = make_project()
    async with removed_after(project):
        await project.do("up", "--no-start")
        left = await project.left()
        assert {kind: len(things) for kind, things in left.items()} == {"containers": 6, "networks": 3, "volumes": 3}
    assert await project.left() == {"containers": [], "networks": [], "volumes": []}


async def test_a_missing_license_is_said_with_its_path(make_project: MakeProject) -> None:
    project = make_project()
    (project.folder / "license.jwt").unlink()
    async with removed_after(project):
        result = await project.run("up", "--wait")
        assert result.status != 0
        assert f"bind source path does not exist: {project.folder / 'license.jwt'}" in result.err
    assert not (project.folder / "license.jwt").exists()


async def test_without_a_choice_of_speech_recognition_it_says_how_to_choose(make_project: MakeProject) -> None:
    project = make_project(trial=False)
    result = await project.run("up", "--wait")
    assert result.status != 0
    assert "COMPOSE_PROFILES" in result.err
    assert "streamstack trial" in result.err
    assert await project.left() == {"containers": [], "networks": [], "volumes": []}


async def test_a_wrong_setting_is_named_by_the_service_that_refuses_it(make_project: MakeProject) -> None:
    async with removed_after(make_project(MAX_SESSIONS="many")) as project:
        result = await project.run("up", "--wait")
        assert result.status != 0
        assert "streaming-api" in result.err
        assert "MAX_SESSIONS: Input should be a valid integer" in await project.do("logs", "streaming-api")
