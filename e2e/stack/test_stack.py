"""Speech through the ingress as clients come, and when servers die; with either balancer."""

from pathlib import Path

import pytest
from e2e.support.clients import Session, sdk, sdk_session, transcribe
from e2e.support.neighbour import DESCRIBE
from e2e.support.recordings import EXAMPLE, EXAMPLE_WORDS, reading, word_errors, words
from e2e.support.recordings import scripted as scripted_recording
from e2e.support.speaker import ENGLISH, SENTENCES
from e2e.support.stack import Stack, name_of

from streamstack_cli import exit_codes

COMPONENT = "app.kubernetes.io/component"


async def serving(stack: Stack) -> str:
    """The speech-recognition pod that has the session."""
    busy = [name_of(pod) for pod in await stack.pods("asr") if (await stack.report(name_of(pod)))["sessions"]]
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
    await stack.rolled_out("asr")


async def test_the_sdk_hears_a_recording_through_the_ingress(sphinx: Stack) -> None:
    session = await sdk(sphinx.endpoint, EXAMPLE, speech_model=ENGLISH)
    assert set(words(" ".join(session.finals))) >= EXAMPLE_WORDS


async def test_streamstack_transcribe_prints_the_words_of_a_recording_through_the_ingress(sphinx: Stack) -> None:
    result = await transcribe(sphinx.endpoint, EXAMPLE)
    assert result.status == exit_codes.OK, result.err
    assert set(words(result.out)) >= EXAMPLE_WORDS


async def test_sealed_internal_ports_refuse_whoever_has_not_this_stacks_credential(
    sphinx: Stack, scripted: Stack
) -> None:
    """The neighbour is a pod of another stack: it has none to show, or one of its own."""
    own, foreign = name_of((await sphinx.pods("asr"))[0]), name_of((await scripted.pods("asr"))[0])
    for url in await internal_urls(sphinx):
        assert (await sphinx.ask(own, url))[0] == 200, url
        assert (await scripted.ask(foreign, url))[0] == 401, url
        assert (await scripted.ask(foreign, url, "without-credential"))[0] == 401, url
    for target in await speech_targets(sphinx):
        assert await sphinx.python(own, DESCRIBE, target, "en-default", "with-credential") == "answered", target
        for how in ("with-credential", "without-credential"):
            assert await scripted.python(foreign, DESCRIBE, target, "en-default", how) == "UNAUTHENTICATED", target


async def internal_urls(stack: Stack) -> list[str]:
    """Everything that is HTTP in a stack and not for clients."""
    paths = {
        "gateway": (8090, ("/sessions", "/metrics")),
        "asr": (8090, ("/sessions", "/metrics")),
        "license-proxy": (8080, ("/v1/status",)),
    }
    return [
        f"http://{pod['status']['podIP']}:{port}{path}"
        for component, (port, of_component) in paths.items()
        for pod in await stack.pods(component)
        for path in of_component
    ]


async def speech_targets(stack: Stack) -> list[str]:
    """Everything that is gRPC: speech-recognition servers, and the balancer where there is one."""
    servers = [f"{pod['status']['podIP']}:50051" for pod in await stack.pods("asr")]
    services = await stack.objects("services", f"--selector={COMPONENT}=asr-lb")
    balancers = [f"{name_of(one)}.{stack.namespace}.svc:{one['spec']['ports'][0]['port']}" for one in services]
    return [*servers, *balancers]


@pytest.mark.parametrize("balancer", ["Gateway"], indirect=True)  # words are counted below, with either
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
        [other] = {name_of(each) for each in await scripted.pods("asr")} - {pod}
        served_before = await served(scripted, other)
        await scripted.kubectl("delete", "pod", pod, "--wait=false", *grace)
        await session.finished()
    assert session.finals == list(SENTENCES * 2)
    await both_ready(scripted)
    now = {name_of(each) for each in await scripted.pods("asr")}
    assert pod not in now
    # The pod that was left took the session, or the one that came in place of the deleted one.
    assert sum([await served(scripted, each) for each in now]) == served_before + 1


async def test_no_word_lost_when_every_speech_recognition_pod_is_deleted_at_once(
    scripted: Stack, tmp_path: Path
) -> None:
    await both_ready(scripted)
    recording = scripted_recording(tmp_path, *SENTENCES * 2)
    before = {name_of(pod) for pod in await scripted.pods("asr")}
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
    assert before.isdisjoint({name_of(pod) for pod in await scripted.pods("asr")})
