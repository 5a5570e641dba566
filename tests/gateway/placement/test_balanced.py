"""Every session on a link of its own, straight to one server and through a real nginx."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.placement.ports import PoolReport
from streamstack_gateway.placement.service import PlacementService
from support import nginx
from support.fake_asr import FakeAsr
from support.recording_listener import RecordingListener

StartPools = Callable[..., Awaitable[PlacementService]]
StartAsr = Callable[..., Awaitable[FakeAsr]]

BOTH = "english/en-default;multilingual/ml-default"


async def enter(pools: PlacementService, pool: str = "english", name: str = "session") -> RecordingListener:
    listener = RecordingListener(name)
    pools.enter(pool, listener)
    await listener.until(lambda: listener.attempts)
    return listener


async def test_every_session_has_a_link_that_names_the_model_and_ends_with_it(
    start_asr: StartAsr, start_pools: StartPools, registry: CollectorRegistry
) -> None:
    asr = await start_asr()
    pools = await start_pools(text=BOTH, balancer=asr.address)
    assert pools.free_slots("english") is None
    one, other = await enter(pools, name="one"), await enter(pools, name="other")
    assert [link.metadata["x-model-version"] for link in asr.links] == ["en-default", "en-default"]
    assert one.attempt.facts.left_context_ms == 500
    assert pools.report()["english"] == PoolReport(in_use=2, waiting=0, refused_total=0)
    one.attempt.audio(0, b"\0\0" * 2560)
    await asr.until(lambda: asr.requests("audio"))
    one.attempt.close()
    await asr.until(lambda: len(asr.live_links) == 1)
    assert one.losses == other.losses == []
    assert pools.report()["english"] == PoolReport(in_use=1, waiting=0, refused_total=0)
    assert registry.get_sample_value("streamstack_gateway_links_up", {"pool": "english"}) == 1


async def test_a_refusal_waits_a_little_and_asks_again(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr(slots=1)
    pools = await start_pools(text=BOTH, balancer=asr.address)
    first = await enter(pools, name="first")
    second = RecordingListener("second")
    pools.enter("english", second)
    await asr.until(lambda: len(asr.requests("open")) >= 3)
    assert second.attempts == []
    assert pools.report()["english"] == PoolReport(in_use=1, waiting=1, refused_total=0)
    first.attempt.close()
    await second.until(lambda: second.attempts)


async def test_a_session_that_leaves_asks_no_more(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr(answers_opens=False)
    pools = await start_pools(text=BOTH, balancer=asr.address)
    listener = RecordingListener()
    ticket = pools.enter("english", listener)
    await asr.until(lambda: asr.requests("open"))
    ticket.leave()
    ticket.leave()
    await asr.until(lambda: not asr.live_links)
    assert listener.heard == ["open_request"]
    assert pools.report()["english"] == PoolReport(in_use=0, waiting=0, refused_total=0)


async def test_a_session_that_leaves_before_it_was_asked_for_never_connects(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr()
    pools = await start_pools(text=BOTH, balancer=asr.address)
    listener = RecordingListener()
    pools.enter("english", listener).leave()
    await enter(pools, name="other")
    assert listener.heard == []
    assert len(asr.links) == 1


async def test_a_lost_link_is_its_sessions_loss_alone(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr()
    pools = await start_pools(text=BOTH, balancer=asr.address)
    one, other = await enter(pools, name="one"), await enter(pools, name="other")
    asr.links[0].end()
    await one.until(lambda: one.losses)
    assert one.losses == ["link_ended"]
    pools.enter("english", one)
    await one.until(lambda: len(one.attempts) == 2)
    assert other.losses == []


async def test_a_frozen_server_behind_the_balancer_is_noticed(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr()
    pools = await start_pools(text=BOTH, balancer=asr.address)
    listener = await enter(pools)
    asr.is_silent = True
    await listener.until(lambda: listener.losses)
    assert listener.losses == ["link_frozen"]


async def test_sessions_wait_for_a_balancer_that_is_not_there_yet(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr()
    await asr.stop()
    pools = await start_pools(text=BOTH, balancer=asr.address)
    listener = RecordingListener()
    pools.enter("english", listener)
    await listener.until(lambda: listener.opens >= 2)
    await asr.start()
    await listener.until(lambda: listener.attempts)


@pytest.mark.parametrize("where", ["open_request", "opened"])
async def test_a_sessions_bug_ends_its_attempt_alone(start_asr: StartAsr, start_pools: StartPools, where: str) -> None:
    pools = await start_pools(text=BOTH, balancer=(await start_asr()).address)
    buggy = RecordingListener("buggy", raises_in=where)
    pools.enter("english", buggy)
    await buggy.until(lambda: buggy.losses)
    assert buggy.losses == ["listener_failed"]
    assert pools.report()["english"] == PoolReport(in_use=0, waiting=0, refused_total=0)


async def test_stopping_tells_sessions_and_leaves_nothing_running(start_asr: StartAsr, start_pools: StartPools) -> None:
    asr = await start_asr(slots=1)
    pools = await start_pools(text=BOTH, balancer=asr.address)
    served, waiting = await enter(pools), RecordingListener("waiting")
    pools.enter("english", waiting)
    await pools.stop()
    assert served.losses == ["link_stopped"]
    await asr.until(lambda: not asr.live_links)


async def test_nginx_routes_sessions_by_model_and_spreads_them_over_a_pool(
    start_asr: StartAsr, start_pools: StartPools, tmp_path: Path
) -> None:
    first = await start_asr("first", slots=20)
    second = await start_asr("second", slots=20)
    multilingual = await start_asr("multilingual", models=["ml-default"])
    routes = {"en-default": [first.address, second.address], "ml-default": [multilingual.address]}
    async with nginx.running_nginx(tmp_path / "nginx", routes) as address:
        pools = await start_pools(text=BOTH, balancer=address)
        english = [await enter(pools, name=f"s{n}") for n in range(6)]
        other = await enter(pools, "multilingual")
        names = [listener.attempt.facts.instance_id for listener in english]
        assert names.count("first") == names.count("second") == 3
        assert other.attempt.facts.instance_id == "multilingual"
        english[0].attempt.audio(0, b"\1\2" * 2560)
        link = {"first": first, "second": second}[names[0]].links[0]
        await link.until(lambda: link.requests("audio"))
        link.send(asr_pb2.SessionReply(session=1, hypothesis=asr_pb2.Hypothesis(turn_id=0)))
        await english[0].until(lambda: "hypothesis" in english[0].heard)
        english[0].attempt.close()
        await link.until(lambda: link.is_over)
        await pools.stop()


async def test_the_death_of_a_server_behind_nginx_moves_its_sessions(
    start_asr: StartAsr, start_pools: StartPools, tmp_path: Path
) -> None:
    first = await start_asr("first", slots=20)
    second = await start_asr("second", slots=20)
    async with nginx.running_nginx(tmp_path / "nginx", {"en-default": [first.address, second.address]}) as address:
        pools = await start_pools(text="english/en-default", balancer=address)
        listeners = [await enter(pools, name=f"s{n}") for n in range(4)]
        moved = [listener for listener in listeners if listener.attempt.facts.instance_id == "first"]
        stayed = [listener for listener in listeners if listener not in moved]
        for listener in moved:
            listener.on_lost = lambda listener=listener: pools.enter("english", listener)
        await first.stop()
        for listener in moved:
            await listener.until(lambda listener=listener: len(listener.attempts) == 2)
            assert listener.attempt.facts.instance_id == "second"
        assert all(listener.losses == [] for listener in stayed)
        await pools.stop()
