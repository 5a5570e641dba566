"""Plain manifests on a real cluster: what the operator will have to make, through the ingress as clients come."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.support.clients import Session, sdk, sdk_session, transcribe
from e2e.support.neighbour import WRITE
from e2e.support.recordings import EXAMPLE, EXAMPLE_WORDS, reading, word_errors, words
from e2e.support.recordings import scripted as scripted_recording
from e2e.support.stack import STACK, Stack, eventually

from devcluster.errors import DevError
from streamstack_cli import exit_codes

ENGLISH = "universal-streaming-english"
SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "how vexingly quick daft zebras jump",
    "sphinx of black quartz judge my vow",
)


def name(pod: dict[str, object]) -> str:
    return str(pod["metadata"]["name"])  # type: ignore[index]


async def serving(stack: Stack) -> str:
    """The speech-recognition pod that has the session."""
    busy = [name(pod) for pod in await stack.pods("asr") if (await stack.report(name(pod)))["sessions"]]
    assert len(busy) == 1, busy
    return busy[0]


async def served(stack: Stack, pod: str) -> int:
    """Sessions a speech-recognition pod has taken since it started."""
    _, metrics = await stack.ask(pod, "http://localhost:8090/metrics")
    taken = [line for line in metrics.splitlines() if line.startswith('streamstack_asr_opens_total{result="opened"}')]
    return round(sum(float(line.split()[-1]) for line in taken))


async def in_mid_turn(session: Session) -> None:
    await session.until(lambda it: len(it.finals) >= 2 and not it.turns[-1]["end"])


async def both_ready(stack: Stack) -> None:
    await stack.rolled_out(f"deployment/{stack.asr}")


async def test_the_sdk_hears_a_recording_through_the_ingress(sphinx: Stack) -> None:
    session = await sdk(sphinx.endpoint, EXAMPLE, speech_model=ENGLISH)
    assert set(words(" ".join(session.finals))) >= EXAMPLE_WORDS


async def test_streamstack_transcribe_prints_the_words_of_a_recording_through_the_ingress(sphinx: Stack) -> None:
    result = await transcribe(sphinx.endpoint, EXAMPLE)
    assert result.status == exit_codes.OK, result.err
    assert set(words(result.out)) >= EXAMPLE_WORDS


async def test_a_client_that_does_not_trust_the_certificate_does_not_connect(sphinx: Stack) -> None:
    result = await transcribe(replace(sphinx.endpoint, authority=None), EXAMPLE)
    assert result.status == exit_codes.UNREACHABLE
    assert "certificate verify failed" in result.err


async def test_another_host_at_the_same_ingress_does_not_lead_here(sphinx: Stack) -> None:
    assert sphinx.get("/v3/ws/health")[0] == 200
    assert sphinx.get("/v3/ws/health", host=f"other.{sphinx.host}")[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/sessions", "/readyz", "/healthz", "/retire", "/resume"])
async def test_sealed_the_internal_port_is_not_reachable_through_the_ingress(sphinx: Stack, path: str) -> None:
    """Not even for somebody who has the credential."""
    gateway = (await sphinx.pods("gateway"))[0]
    read = "print(open('/run/streamstack/credential').read().split()[0])"
    token = await sphinx.python(name(gateway), read)
    status, body = sphinx.get(path, headers={"Authorization": f"Bearer {token}"})
    assert status >= 400
    assert "streamstack_" not in body
    assert "sessions" not in body


async def test_sealed_internal_ports_refuse_a_neighbour_without_the_credential(sphinx: Stack) -> None:
    pods = {component: (await sphinx.pods(component))[0] for component in ("gateway", "asr", "license-proxy")}
    neighbour = name(pods["asr"])
    urls = {
        "gateway": "http://{}:8090/sessions",
        "asr": "http://{}:8090/metrics",
        "license-proxy": "http://{}:8080/v1/status",
    }
    for component, url in urls.items():
        address = url.format(pods[component]["status"]["podIP"])
        assert (await sphinx.ask(neighbour, address, "without-credential"))[0] == 401
        assert (await sphinx.ask(neighbour, address))[0] == 200


async def test_every_pod_says_which_revision_it_belongs_to(sphinx: Stack) -> None:
    pods = [*await sphinx.pods("gateway"), *await sphinx.pods("asr")]
    assert len(pods) == 3
    for pod in pods:
        assert (await sphinx.report(name(pod)))["revision"] == sphinx.revision
        assert pod["metadata"]["labels"]["streamstack.dev/revision"] == sphinx.revision


async def test_a_pod_taken_out_of_traffic_leaves_the_service_and_stays_the_deployments(sphinx: Stack) -> None:
    """What retiring a pod rests on (DESIGN 4, "Templates")."""
    first, second = (name(pod) for pod in await sphinx.pods("asr"))

    async def behind() -> set[str]:
        selector = f"--selector=kubernetes.io/service-name={STACK}-asr-english"
        slices = json.loads(await sphinx.kubectl("get", "endpointslices", selector, "--output=json"))["items"]
        return {end["targetRef"]["name"] for one in slices for end in one["endpoints"] if end["conditions"]["ready"]}

    async def only_second() -> bool:
        return await behind() == {second}

    async def both() -> bool:
        return await behind() == {first, second}

    await sphinx.kubectl("label", "pod", first, "traffic=off", "--overwrite")
    await eventually(only_second)
    assert {name(pod) for pod in await sphinx.pods("asr")} == {first, second}
    await sphinx.kubectl("label", "pod", first, "traffic=on", "--overwrite")
    await eventually(both)


async def test_the_journals_claim_can_be_written_by_the_license_proxy_and_its_image_cannot(sphinx: Stack) -> None:
    pod = f"{STACK}-license-proxy-0"
    assert await sphinx.python(pod, WRITE, "/var/lib/streamstack/new") == "10001 written"
    assert await sphinx.python(pod, WRITE, "/app/new") == "10001 Read-only file system"
    claims = json.loads(await sphinx.kubectl("get", "persistentvolumeclaims", "--output=json"))["items"]
    assert [(name(claim), claim["status"]["phase"]) for claim in claims] == [(f"journal-{pod}", "Bound")]


async def test_the_namespace_takes_no_pod_with_more_rights(sphinx: Stack) -> None:
    """So that these very manifests are proved to be within Pod Security "restricted"."""
    with pytest.raises(DevError, match='violates PodSecurity "restricted'):
        await sphinx.kubectl("run", "root", "--image=any", "--dry-run=server")


async def test_no_cut_a_gateway_is_not_evicted(sphinx: Stack) -> None:
    pod = name((await sphinx.pods("gateway"))[0])
    with pytest.raises(DevError, match="violate the pod's disruption budget"):
        await sphinx.evict(pod)
    assert [name(pod) for pod in await sphinx.pods("gateway")] == [pod]


async def test_the_words_of_a_reading_survive_the_deletion_of_the_pod_that_hears_them(
    sphinx: Stack, tmp_path: Path
) -> None:
    recording, said = reading(tmp_path)
    async with sdk_session(sphinx.endpoint, recording, speech_model=ENGLISH) as session:
        await in_mid_turn(session)
        pod = await serving(sphinx)
        await sphinx.kubectl("delete", "pod", pod, "--grace-period=1", "--wait=false")
        assert not session.over
        await session.finished()
    # PocketSphinx gets about three words in ten of these clips wrong; a lost turn would be worse.
    everything = [word for clip in said for word in clip]
    assert word_errors(everything, words(" ".join(session.finals))) / len(everything) < 0.5
    await both_ready(sphinx)


@pytest.mark.parametrize("grace", [(), ("--grace-period=0", "--force")], ids=["asked", "killed"])
async def test_no_word_lost_when_the_pod_that_hears_them_is_deleted_in_mid_stream(
    scripted: Stack, tmp_path: Path, grace: tuple[str, ...]
) -> None:
    await both_ready(scripted)
    recording = scripted_recording(tmp_path, *SENTENCES * 2)
    async with sdk_session(scripted.endpoint, recording, speech_model=ENGLISH) as session:
        await in_mid_turn(session)
        pod = await serving(scripted)
        [other] = {name(each) for each in await scripted.pods("asr")} - {pod}
        served_before = await served(scripted, other)
        await scripted.kubectl("delete", "pod", pod, "--wait=false", *grace)
        await session.finished()
    assert session.finals == list(SENTENCES * 2)
    await both_ready(scripted)
    now = {name(each) for each in await scripted.pods("asr")}
    assert pod not in now
    # The pod that was left took the session, or the one that came in place of the deleted one.
    assert sum([await served(scripted, each) for each in now]) == served_before + 1


async def test_no_word_lost_when_every_speech_recognition_pod_is_deleted_at_once(
    scripted: Stack, tmp_path: Path
) -> None:
    await both_ready(scripted)
    recording = scripted_recording(tmp_path, *SENTENCES * 2)
    before = {name(pod) for pod in await scripted.pods("asr")}
    async with sdk_session(scripted.endpoint, recording, speech_model=ENGLISH) as session:
        await in_mid_turn(session)
        await scripted.kubectl(
            "delete",
            "pods",
            "--selector=app.kubernetes.io/component=asr",
            "--wait=false",
            "--grace-period=0",
            "--force",
        )
        await session.finished()
    assert session.finals == list(SENTENCES * 2)
    assert before.isdisjoint({name(pod) for pod in await scripted.pods("asr")})
