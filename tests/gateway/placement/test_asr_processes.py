"""Pools over real ASR servers, each a process of its own, killed and frozen by signals."""

import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.placement.ports import PoolReport
from streamstack_gateway.placement.service import PlacementService
from support import nginx
from support.asr_process import AsrProcess, asr_process
from support.recording_listener import RecordingListener
from support.scripted_audio import script

StartPools = Callable[..., Awaitable[PlacementService]]
StartServer = Callable[..., Awaitable[AsrProcess]]


@pytest.fixture
async def start_server(tmp_path: Path, credential_file: Path) -> AsyncIterator[StartServer]:
    async with AsyncExitStack() as stack:

        async def start(slots: int = 8, models: str = "en-default") -> AsrProcess:
            return await stack.enter_async_context(
                asr_process(tmp_path, slots=slots, models=models, credential_file=credential_file)
            )

        yield start


def pool_of(*servers: AsrProcess) -> str:
    return "english/en-default=" + ",".join(server.asr for server in servers)


async def enter(pools: PlacementService, name: str = "session", pool: str = "english") -> RecordingListener:
    listener = RecordingListener(name)
    pools.enter(pool, listener)
    await listener.until(lambda: listener.attempts)
    return listener


def final_words(listener: RecordingListener) -> list[str]:
    """Words of the turns that ended, put together as the contract says."""
    words: list[str] = []
    open_turn: list[str] = []
    for message in listener.messages:
        if isinstance(message, asr_pb2.Hypothesis | asr_pb2.Final):
            open_turn = open_turn[: message.words_before] + [word.text for word in message.words]
        elif isinstance(message, asr_pb2.TurnEnded):
            words += open_turn
            open_turn = []
    return words


async def test_what_is_said_in_many_sessions_on_one_link_is_heard_in_each(
    start_server: StartServer, start_pools: StartPools
) -> None:
    pools = await start_pools(text=pool_of(await start_server()))
    texts = [f"caller {letter} says hello" for letter in "abcdefgh"]
    listeners = [await enter(pools, f"s{n}") for n in range(8)]
    assert listeners[0].attempt.facts.window_ms > 0
    for listener, text in zip(listeners, texts, strict=True):
        said = script(text)
        listener.attempt.audio(0, said.pcm)
        listener.attempt.end_turn(0, said.samples)
    for listener, text in zip(listeners, texts, strict=True):
        await listener.until(lambda listener=listener: "turn_ended" in listener.heard)
        assert final_words(listener) == text.split()
    assert pools.report()["english"] == PoolReport(in_use=8, waiting=0, refused_total=0)


async def on_two_servers(
    start_server: StartServer, start_pools: StartPools
) -> tuple[PlacementService, AsrProcess, list[RecordingListener], RecordingListener]:
    """Three sessions on a first server, one on a second that came later; lost ones enter again."""
    first = await start_server(slots=3)
    second = await start_server(slots=8, models="en-default")
    second.process.send_signal(signal.SIGSTOP)
    pools = await start_pools(text=pool_of(first, second))
    sessions = [await enter(pools, f"s{n}") for n in range(3)]
    second.process.send_signal(signal.SIGCONT)
    other = await enter(pools, "other")
    for session in sessions:
        session.on_lost = lambda session=session: pools.enter("english", session)
    return pools, first, sessions, other


async def all_moved(sessions: list[RecordingListener], other: RecordingListener) -> None:
    for session in sessions:
        await session.until(lambda session=session: len(session.attempts) == 2)
        assert session.attempt.facts.instance_id == other.attempt.facts.instance_id
    assert other.losses == []


async def test_a_killed_servers_sessions_are_all_lost_and_placed_on_another(
    start_server: StartServer, start_pools: StartPools
) -> None:
    pools, first, sessions, other = await on_two_servers(start_server, start_pools)
    first.kill()
    await all_moved(sessions, other)
    assert {loss for session in sessions for loss in session.losses} <= {"link_unavailable", "link_rpc_failed"}
    assert pools.report()["english"] == PoolReport(in_use=4, waiting=0, refused_total=0)


async def test_a_frozen_servers_sessions_are_all_lost_and_placed_on_another(
    start_server: StartServer, start_pools: StartPools
) -> None:
    pools, first, sessions, other = await on_two_servers(start_server, start_pools)
    first.process.send_signal(signal.SIGSTOP)
    await all_moved(sessions, other)
    first.process.send_signal(signal.SIGCONT)
    assert {loss for session in sessions for loss in session.losses} == {"link_frozen"}
    assert pools.report()["english"] == PoolReport(in_use=4, waiting=0, refused_total=0)


async def test_a_stall_of_the_gateway_itself_is_no_frozen_server(
    start_server: StartServer, start_pools: StartPools
) -> None:
    pools = await start_pools(text=pool_of(await start_server()))
    listener = await enter(pools)
    # Longer than the silence that ends a link here (8 intervals of 0.1 s), shorter than the server's own bound.
    time.sleep(1.2)
    said = script("still here")
    listener.attempt.audio(0, said.pcm)
    listener.attempt.end_turn(0, said.samples)
    await listener.until(lambda: "turn_ended" in listener.heard)
    assert final_words(listener) == ["still", "here"]
    assert listener.losses == []


async def test_sessions_beyond_the_slots_wait_and_follow_as_slots_free(
    start_server: StartServer, start_pools: StartPools
) -> None:
    pools = await start_pools(text=pool_of(await start_server(slots=2), await start_server(slots=1)))
    listeners = [RecordingListener(f"s{n}") for n in range(12)]
    for listener in listeners:
        pools.enter("english", listener)
    for listener in listeners:
        await listener.until(lambda listener=listener: listener.attempts)
        listener.attempt.close()
    assert [listener.losses for listener in listeners] == [[]] * 12


async def test_a_session_through_nginx_reaches_the_server_of_its_model(
    start_server: StartServer, start_pools: StartPools, tmp_path: Path
) -> None:
    english, other = await start_server(), await start_server(models="ml-default")
    routes = {"en-default": [english.asr], "ml-default": [other.asr]}
    async with nginx.running_nginx(tmp_path / "nginx", routes) as address:
        pools = await start_pools(text="english/en-default", balancer=address)
        listener = await enter(pools)
        said = script("through the balancer")
        listener.attempt.audio(0, said.pcm)
        listener.attempt.end_turn(0, said.samples)
        await listener.until(lambda: "turn_ended" in listener.heard)
        assert final_words(listener) == ["through", "the", "balancer"]
        english.kill()
        await listener.until(lambda: listener.losses)
        await pools.stop()
