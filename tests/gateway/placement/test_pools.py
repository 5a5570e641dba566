"""Placement over real links: who is asked, who waits, and what a loss does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.contracts import asr_pb2
from streamstack_common.credential import Credential
from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.placement import create_pools
from streamstack_gateway.placement.config import PlacementConfig, PoolConfig, parse_pools
from streamstack_gateway.placement.connector import Connector
from streamstack_gateway.placement.metrics import PlacementMetrics
from streamstack_gateway.placement.pools import Pool
from streamstack_gateway.placement.ports import PoolReport
from streamstack_gateway.placement.service import PlacementService
from support.fake_asr import FakeAsr
from support.recording_listener import RecordingListener

StartPools = Callable[..., Awaitable[PlacementService]]
StartAsr = Callable[..., Awaitable[FakeAsr]]


async def known(pools: PlacementService, free: int, pool: str = "english") -> None:
    """Return when the pool's servers are known to have this many free slots."""
    async with asyncio.timeout(20):
        while pools.free_slots(pool) != free:  # noqa: ASYNC110 - a number without an event, as an admission sees it
            await asyncio.sleep(0.005)


async def enter(pools: PlacementService, name: str = "session") -> RecordingListener:
    listener = RecordingListener(name)
    pools.enter("english", listener)
    await listener.until(lambda: listener.attempts)
    return listener


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"streamstack_gateway_{name}", {"pool": "english", **labels})


async def test_a_session_that_comes_before_any_server_waits_for_the_first(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    pools = await start_pools(await start_asr())
    assert pools.free_slots("english") is None
    listener = RecordingListener()
    ticket = pools.enter("english", listener)
    assert listener.heard == []
    assert pools.report() == {"english": PoolReport(in_use=0, waiting=1, refused_total=0)}
    await listener.until(lambda: listener.attempts)
    ticket.leave()
    assert pools.report() == {"english": PoolReport(in_use=1, waiting=0, refused_total=0)}
    await known(pools, 3)


async def test_free_slots_are_those_reported_less_what_waits_here(start_asr: StartAsr, start_pools: StartPools) -> None:
    pools = await start_pools(await start_asr(slots=3), await start_asr(slots=2))
    await known(pools, 5)
    for _ in range(4):
        pools.enter("english", RecordingListener())
    assert pools.free_slots("english") == 1
    for _ in range(4):
        pools.enter("english", RecordingListener())
    assert pools.free_slots("english") == 0


async def test_a_refusal_tries_another_server(
    start_asr: StartAsr, start_pools: StartPools, registry: CollectorRegistry
) -> None:
    refusing = await start_asr("refusing", slots=100, refuse=lambda _open: asr_pb2.Refused.FULL)
    taking = await start_asr("taking", slots=2)
    pools = await start_pools(refusing, taking)
    await known(pools, 102)
    listeners = [await enter(pools, f"s{n}") for n in range(2)]
    assert [listener.attempt.facts.instance_id for listener in listeners] == ["taking", "taking"]
    assert value(registry, "opens_total", result="opened") == 2


async def test_the_freer_of_two_servers_is_asked(start_asr: StartAsr, start_pools: StartPools) -> None:
    pools = await start_pools(await start_asr("small", slots=5), await start_asr("large", slots=50))
    await known(pools, 55)
    listeners = [await enter(pools, f"s{n}") for n in range(20)]
    assert {listener.attempt.facts.instance_id for listener in listeners} == {"large"}


async def test_sessions_wait_oldest_first_and_are_served_when_a_slot_frees(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr(slots=1)
    pools = await start_pools(asr)
    served = await enter(pools, "first")
    waiting = [RecordingListener(f"s{n}") for n in range(3)]
    tickets = [pools.enter("english", listener) for listener in waiting]
    assert pools.free_slots("english") == 0
    tickets[0].leave()
    served.attempt.close()
    await waiting[1].until(lambda: waiting[1].attempts)
    assert waiting[0].heard == waiting[2].heard == []
    waiting[1].attempt.close()
    await waiting[2].until(lambda: waiting[2].attempts)
    assert [request.open.session_id for request in asr.requests("open")] == ["first", "s1", "s2"]


async def test_a_refused_session_keeps_its_place_before_younger_ones(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr(slots=2, refuse=lambda _open: asr_pb2.Refused.FULL)
    pools = await start_pools(asr)
    await known(pools, 2)
    listeners = [RecordingListener(f"s{n}") for n in range(4)]
    for listener in listeners:
        pools.enter("english", listener)
    await asr.until(lambda: len(asr.requests("open")) >= 2)
    asr.refuse = lambda _open: None
    await listeners[1].until(lambda: listeners[0].attempts and listeners[1].attempts)
    assert listeners[2].attempts == listeners[3].attempts == []


async def test_a_session_that_leaves_while_a_server_is_asked_gives_the_slot_back(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr(slots=1, answers_opens=False)
    pools = await start_pools(asr)
    await known(pools, 1)
    listener = RecordingListener()
    ticket = pools.enter("english", listener)
    await asr.until(lambda: asr.requests("open"))
    ticket.leave()
    ticket.leave()
    await asr.until(lambda: asr.requests("close"))
    await known(pools, 1)
    assert pools.report()["english"] == PoolReport(in_use=0, waiting=0, refused_total=0)


async def test_a_dead_server_ends_only_its_own_sessions_which_find_another(
    start_asr: StartAsr, start_pools: StartPools, registry: CollectorRegistry
) -> None:
    first = await start_asr("first", slots=20)
    pools = await start_pools(first, second := await start_asr("second", slots=0))
    await known(pools, 20)
    listeners = [await enter(pools, f"s{n}") for n in range(10)]
    second.slots = 30
    await known(pools, 40)
    keeper = await enter(pools, "keeper")
    assert keeper.attempt.facts.instance_id == "second"
    for listener in listeners:
        listener.on_lost = lambda listener=listener: pools.enter("english", listener)
    await first.stop()
    for listener in listeners:
        await listener.until(lambda listener=listener: len(listener.attempts) == 2)
    assert {listener.attempt.facts.instance_id for listener in listeners} == {"second"}
    assert keeper.losses == []
    assert pools.report()["english"].in_use == 11
    assert value(registry, "links_up") == 1


async def test_a_frozen_servers_sessions_are_lost(
    start_asr: StartAsr, start_pools: StartPools, registry: CollectorRegistry
) -> None:
    asr = await start_asr()
    pools = await start_pools(asr)
    listener = await enter(pools)
    asr.is_silent = True
    await listener.until(lambda: listener.losses)
    assert listener.losses == ["link_frozen"]
    assert pools.free_slots("english") is None
    assert value(registry, "link_losses_total", reason="link_frozen") == 1


async def test_a_server_that_comes_back_is_found_and_serves_who_waits(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr()
    pools = await start_pools(asr)
    first = await enter(pools)
    await asr.stop()
    await first.until(lambda: first.losses)
    waiting = RecordingListener("waiting")
    pools.enter("english", waiting)
    await asr.start()
    await waiting.until(lambda: waiting.attempts)


async def test_a_retired_server_is_asked_no_more_and_its_sessions_hear_please_move(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    retired, other = await start_asr("retired", slots=50), await start_asr("other", slots=0)
    pools = await start_pools(retired, other)
    await known(pools, 50)
    listener = await enter(pools)
    retired.accepting = False
    other.slots = 3
    await known(pools, 3)
    retired.live_links[0].send(
        asr_pb2.SessionReply(session=1, please_move=asr_pb2.PleaseMove(reason="retired", within_ms=5))
    )
    await listener.until(lambda: "please_move" in listener.heard)
    assert (await enter(pools, "new")).attempt.facts.instance_id == "other"


async def test_a_server_without_the_pools_model_is_none_of_the_pools(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    pools = await start_pools(await start_asr(models=["ml-default"], slots=50), await start_asr("right", slots=2))
    await known(pools, 2)
    assert (await enter(pools)).attempt.facts.instance_id == "right"


async def test_an_invalid_open_is_not_repeated_on_the_same_server_and_stops_nobody_else(
    start_asr: StartAsr, start_pools: StartPools
) -> None:
    asr = await start_asr(slots=50, refuse=lambda wish: asr_pb2.Refused.INVALID if wish.session_id == "wrong" else None)
    pools = await start_pools(asr)
    await known(pools, 50)
    wrong = RecordingListener("wrong")
    pools.enter("english", wrong)
    await asr.until(lambda: asr.requests("open"))
    for n in range(5):
        await enter(pools, f"s{n}")
    assert [request.open.session_id for request in asr.requests("open")] == ["wrong", *(f"s{n}" for n in range(5))]
    assert wrong.losses == []
    assert pools.report()["english"] == PoolReport(in_use=5, waiting=1, refused_total=0)


@pytest.mark.parametrize("where", ["open_request", "opened"])
async def test_a_sessions_bug_ends_its_attempt_alone(start_asr: StartAsr, start_pools: StartPools, where: str) -> None:
    pools = await start_pools(await start_asr(slots=5))
    buggy = RecordingListener("buggy", raises_in=where)
    pools.enter("english", buggy)
    await enter(pools, "other")
    await buggy.until(lambda: buggy.losses)
    assert buggy.losses == ["listener_failed"]
    assert pools.report()["english"] == PoolReport(in_use=1, waiting=0, refused_total=0)
    await known(pools, 4)


async def test_many_more_sessions_than_slots_all_get_their_turn(start_asr: StartAsr, start_pools: StartPools) -> None:
    servers = [await start_asr(f"asr{n}", slots=7) for n in range(3)]
    pools = await start_pools(*servers)
    await known(pools, 21)
    listeners = [RecordingListener(f"s{n}") for n in range(300)]
    for listener in listeners:
        pools.enter("english", listener)
    for listener in listeners:
        await listener.until(lambda listener=listener: listener.attempts)
        listener.attempt.close()
    await known(pools, 21)
    assert pools.report()["english"] == PoolReport(in_use=0, waiting=0, refused_total=0)
    opens = [request.open.session_id for server in servers for request in server.requests("open")]
    assert sorted(set(opens)) == sorted(listener.name for listener in listeners)


async def test_the_wrong_credential_brings_up_no_link_and_says_why(
    start_asr: StartAsr, tmp_path: Path, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    asr = await start_asr()
    wrong = tmp_path / "wrong"
    wrong.write_text("another-stacks-credential")
    pools = create_pools(
        PlacementConfig(parse_pools(f"english/en-default={asr.address}")),
        credential=Credential(wrong),
        registry=registry,
    )
    with caplog.at_level(logging.WARNING):
        await pools.start()
        await asr.until(lambda: asr.refused_credentials >= 3)
        lines = [record for record in caplog.records if "link_unauthenticated" in record.getMessage()]
        await pools.stop()
    assert len(lines) == 1
    assert "another-stacks-credential" not in caplog.text
    assert pools.free_slots("english") is None
    assert (value(registry, "link_losses_total", reason="link_unauthenticated") or 0) >= 2
    assert value(registry, "links_up") == 0


async def test_a_rotated_credential_is_used_by_the_next_link(start_asr: StartAsr, tmp_path: Path) -> None:
    asr = await start_asr()
    path = tmp_path / "rotating"
    path.write_text("yesterdays-credential")
    pools = create_pools(
        PlacementConfig(parse_pools(f"english/en-default={asr.address}")),
        credential=Credential(path),
        registry=CollectorRegistry(),
    )
    await pools.start()
    await asr.until(lambda: asr.refused_credentials)
    path.write_text("the-stacks-own-credential")
    await asr.until(lambda: asr.links)
    await pools.stop()


async def test_an_address_that_left_dns_serves_while_its_link_lives_and_is_then_forgotten(
    start_asr: StartAsr, connector: Connector, metrics: PlacementMetrics
) -> None:
    asr = await start_asr()
    pool = Pool(PoolConfig("english", "en-default"), connects=connector, metrics=metrics)
    pool.set_endpoints({Endpoint(asr.address, "asr")})
    first = RecordingListener("first")
    pool.enter(first)
    await first.until(lambda: first.attempts)
    pool.set_endpoints(())
    second = RecordingListener("second")
    pool.enter(second)
    await second.until(lambda: second.attempts)
    asr.live_links[0].end()
    await first.until(lambda: first.losses)
    assert pool.free_slots() is None
    third = RecordingListener("third")
    pool.enter(third)
    # Known again, it is a new server with a new link.
    pool.set_endpoints({Endpoint(asr.address, "asr")})
    await third.until(lambda: third.attempts)
    assert len(asr.links) == 2
    pool.stop()


async def test_no_cut_a_server_taken_out_of_dns_keeps_its_session_and_gets_no_new_one_while_another_is_up(
    start_asr: StartAsr, connector: Connector, metrics: PlacementMetrics
) -> None:
    """How an old revision of a pool empties itself (DESIGN 4, "Templates")."""
    old, new = await start_asr(), await start_asr()
    pool = Pool(PoolConfig("english", "en-default"), connects=connector, metrics=metrics)
    pool.set_endpoints({Endpoint(old.address, "asr")})
    first = RecordingListener("first")
    pool.enter(first)
    await first.until(lambda: first.attempts)
    pool.set_endpoints({Endpoint(new.address, "asr")})
    await new.until(lambda: new.links)
    async with asyncio.timeout(20):
        while pool.free_slots() != 4:  # noqa: ASYNC110 - a number without an event: those of the new server alone
            await asyncio.sleep(0.005)
    later = [RecordingListener(f"later {number}") for number in range(4)]
    for listener in later:
        pool.enter(listener)
        await listener.until(lambda listener=listener: listener.attempts)
    assert [len(old.live_links[0].requests("open")), len(new.live_links[0].requests("open"))] == [1, 4]
    assert first.losses == []
    pool.stop()


async def test_an_address_that_never_answered_is_forgotten_with_its_dns_entry(
    start_asr: StartAsr, connector: Connector, metrics: PlacementMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    asr = await start_asr(is_silent=True)
    pool = Pool(PoolConfig("english", "en-default"), connects=connector, metrics=metrics)
    pool.set_endpoints({Endpoint(asr.address, "asr")})
    await asr.until(lambda: asr.links)
    pool.set_endpoints(())
    await asr.until(lambda: not asr.live_links)
    await connector.stop()
    assert not caplog.records


async def test_each_pool_has_its_own_servers_and_report(start_asr: StartAsr, start_pools: StartPools) -> None:
    english, other = await start_asr(slots=2), await start_asr(slots=3, models=["ml-default"])
    pools = await start_pools(text=f"english/en-default={english.address};multilingual/ml-default={other.address}")
    await known(pools, 2)
    await known(pools, 3, "multilingual")
    pools.refuse("multilingual")
    assert pools.report() == {
        "english": PoolReport(in_use=0, waiting=0, refused_total=0),
        "multilingual": PoolReport(in_use=0, waiting=0, refused_total=1),
    }


async def test_stopping_tells_every_session(start_asr: StartAsr, start_pools: StartPools) -> None:
    pools = await start_pools(await start_asr())
    listener = await enter(pools)
    await pools.stop()
    assert listener.losses == ["link_stopped"]


async def test_metrics_show_links_slots_and_who_waits(
    start_asr: StartAsr, start_pools: StartPools, registry: CollectorRegistry
) -> None:
    pools = await start_pools(await start_asr(slots=1))
    free = value(registry, "free_slots")
    assert free is not None
    assert free != free  # noqa: PLR0124 - NaN: nobody knows yet
    await known(pools, 1)
    assert (value(registry, "links_up"), value(registry, "free_slots")) == (1, 1)
    await enter(pools)
    pools.enter("english", RecordingListener())
    assert value(registry, "sessions_waiting") == 1
    assert (registry.get_sample_value("streamstack_gateway_link_write_requests_count") or 0) >= 1
