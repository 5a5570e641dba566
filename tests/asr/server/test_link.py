"""Links over real gRPC, server and gateway in one process."""

import asyncio
from typing import Any

import grpc
import pytest

from streamstack_asr.server.link import STATUS_INTERVAL_SECONDS
from streamstack_common.contracts import asr_pb2, rpc
from support.asr_link import link
from support.scripted_audio import script


async def _read_to_the_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_link_begins_with_the_servers_status(running: Any) -> None:
    async with link(running.address, running.metadata) as client:
        status = (await client.wait_for(lambda: client.statuses))[0]
        assert (status.sequence, status.instance_id) == (1, running.server.instance_id)
        assert (status.slots, status.free_slots, status.accepting) == (4, 4, True)
        assert (status.left_context_ms, status.chunk_ms, status.window_ms) == (200, 40, 10_000)
        assert list(status.models) == ["en-default"]


async def test_status_is_repeated_while_nothing_happens(running: Any) -> None:
    async with link(running.address, running.metadata) as client:
        await client.wait_for(lambda: len(client.statuses) >= 4)
        assert [status.sequence for status in client.statuses[:4]] == [1, 2, 3, 4]


async def test_a_session_hears_its_words_and_its_turn_ends_in_order(running: Any) -> None:
    made = script("hello world")
    async with link(running.address, running.metadata) as client:
        await client.open(7, attempt=3)
        await client.stream(7, made.pcm)
        await client.end_turn(7, 0, made.samples)
        await client.close_session(7)
        closed = await client.wait_reply(7, "closed")
        assert closed.reason == asr_pb2.Closed.REQUESTED
        assert client.kinds(7) == ["opened", "final", "turn_ended", "closed"]
        words = client.turns(7)[0]
        assert [(w.text, w.start_sample, w.end_sample, w.is_final) for w in words] == [
            (w.text, w.start_sample, w.end_sample, True) for w in made.words
        ]
        hypotheses = [reply.hypothesis for reply in client.replies[7] if reply.HasField("hypothesis")]
        assert {h.attempt for h in hypotheses} == {3}
        assert [h.through_sample for h in hypotheses] == list(range(640, made.samples + 1, 640))


async def test_two_hundred_sessions_on_one_link_all_get_their_own_words(start_server: Any) -> None:
    scripts = {number: script(f"this is session {number} speaking", tail_ms=100) for number in range(1, 201)}
    async with start_server(slots=200) as running, link(running.address, running.metadata) as client:
        for number in scripts:
            await client.open(number)
        longest = max(made.samples for made in scripts.values())
        for at in range(0, longest, 1600):
            pieces = [
                asr_pb2.SessionRequest(
                    session=number, audio=asr_pb2.Audio(offset=at, pcm=made.pcm[2 * at : 2 * (at + 1600)])
                )
                for number, made in scripts.items()
                if at < made.samples
            ]
            await client.send(*pieces)
        for number, made in scripts.items():
            await client.end_turn(number, 0, made.samples)
        await client.wait_for(lambda: all("turn_ended" in client.kinds(number) for number in scripts))
        assert {number: client.text(number) for number in scripts} == {n: made.text for n, made in scripts.items()}


async def test_a_full_server_refuses_in_band_and_the_slot_can_be_had_after_a_close(start_server: Any) -> None:
    async with (
        start_server(slots=1) as running,
        link(running.address, running.metadata) as one,
        link(running.address, running.metadata) as two,
    ):
        await one.open(1)
        await one.wait_reply(1, "opened")
        await two.wait_for(lambda: two.statuses and two.statuses[-1].free_slots == 0)
        await two.open(1)
        refused = await two.wait_reply(1, "refused")
        assert (refused.reason, refused.message) == (asr_pb2.Refused.FULL, "all 1 slots are taken")
        await one.close_session(1)
        await two.wait_for(lambda: two.statuses[-1].free_slots == 1)
        await two.open(2)
        await two.wait_reply(2, "opened")


async def test_a_gap_closes_only_the_session_that_has_it(running: Any) -> None:
    made = script("still here")
    async with link(running.address, running.metadata) as client:
        await client.open(1)
        await client.open(2)
        await client.audio(1, made.pcm[:3200])
        await client.audio(2, made.pcm[:3200])
        await client.audio(1, made.pcm[3200:], offset=1700)
        closed = await client.wait_reply(1, "closed")
        assert (closed.reason, closed.message) == (
            asr_pb2.Closed.INVALID,
            "a gap: audio at sample 1700, expected 1600",
        )
        await client.audio(2, made.pcm[3200:])
        await client.end_turn(2, 0, made.samples)
        await client.wait_reply(2, "turn_ended")
        assert client.text(2) == "still here"


async def test_many_changes_of_the_slots_make_few_statuses(start_server: Any) -> None:
    async with (
        start_server(slots=100) as running,
        link(running.address, running.metadata) as watcher,
        link(running.address, running.metadata) as client,
    ):
        await watcher.wait_for(lambda: watcher.statuses)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(100):
            await client.open(number)
        await watcher.wait_for(lambda: watcher.statuses[-1].free_slots == 0)
        took = loop.time() - began
        most = took / STATUS_INTERVAL_SECONDS + took / rpc.HEARTBEAT_SECONDS + 4
        assert len(watcher.statuses) <= most


async def test_a_silent_gateways_link_ends_and_its_slots_come_back(start_server: Any) -> None:
    async with start_server(slots=2) as running, link(running.address, running.metadata) as watcher:
        async with link(running.address, running.metadata, heartbeat=False) as frozen:
            await frozen.open(1)
            await frozen.open(2)
            await watcher.wait_for(lambda: watcher.statuses and watcher.statuses[-1].free_slots == 0)
            await watcher.wait_for(lambda: watcher.statuses[-1].free_slots == 2)
            await frozen.wait_for(lambda: frozen.ended)
            assert frozen.ended is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "nothing was heard" in frozen.details
        assert watcher.ended is None
        assert running.server.totals.links_ended == {"silent": 1}


@pytest.mark.parametrize("how", ["cancel", "half_close"])
async def test_a_gateway_that_leaves_gives_its_slots_back(running: Any, how: str) -> None:
    async with link(running.address, running.metadata) as watcher:
        async with link(running.address, running.metadata, heartbeat=False) as client:
            await client.open(1)
            await client.wait_reply(1, "opened")
            if how == "half_close":
                await client.call.done_writing()
                await client.wait_for(lambda: client.ended)
                assert client.ended is grpc.StatusCode.OK
            else:
                client.call.cancel()
            await watcher.wait_for(lambda: watcher.statuses and running.server.slots.in_use == 0)
        assert running.server.totals.closed == {"LINK_LOST": 1}
        assert running.server.totals.links == 1


async def test_a_gateway_that_does_not_read_loses_its_link_and_others_do_not_notice(running: Any) -> None:
    made = script("not affected")
    async with (
        link(running.address, running.metadata) as other,
        grpc.aio.insecure_channel(running.address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel,
    ):
        await other.open(1)
        deaf = channel.stream_stream(rpc.LINK)(metadata=running.metadata)
        again = asr_pb2.SessionRequest(session=1, open=asr_pb2.Open(model="en-default"))
        message = asr_pb2.ToAsr(requests=[again] * 5000).SerializeToString()

        async def talk() -> None:
            while not running.server.totals.links_ended:
                await deaf.write(message)

        talking = asyncio.create_task(talk())
        await other.wait_for(lambda: running.server.totals.links_ended)
        assert running.server.totals.links_ended == {"not_reading": 1}
        with pytest.raises(grpc.aio.AioRpcError):
            await _read_to_the_end(deaf)
        assert await deaf.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await asyncio.gather(talking, return_exceptions=True)
        await other.stream(1, made.pcm)
        await other.end_turn(1, 0, made.samples)
        await other.wait_reply(1, "turn_ended")
        assert other.text(1) == "not affected"


async def test_a_message_that_cannot_be_decoded_ends_its_link_with_a_reason(running: Any) -> None:
    async with grpc.aio.insecure_channel(running.address) as channel:
        # Often, because the first status may be on its way, or not, when the link ends.
        for _ in range(30):
            call = channel.stream_stream(rpc.LINK)(metadata=running.metadata)
            await call.write(b"\xff\xff\xff")
            with pytest.raises(grpc.aio.AioRpcError):
                await _read_to_the_end(call)
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "expected streamstack.asr.v1.ToAsr" in (await call.details() or "")


async def test_retiring_asks_sessions_to_move_refuses_new_ones_and_is_reversible(running: Any) -> None:
    async with link(running.address, running.metadata) as client, running.http() as http:
        await client.open(1)
        await client.wait_reply(1, "opened")
        async with http.post("/retire", json={"generation": 1}) as response:
            assert response.status == 200
        move = await client.wait_reply(1, "please_move")
        assert move.reason == "the server is retired"
        await client.wait_for(lambda: not client.statuses[-1].accepting)
        await client.open(2)
        refused = await client.wait_reply(2, "refused")
        assert refused.reason == asr_pb2.Refused.NOT_ACCEPTING
        async with http.post("/resume", json={"generation": 2}) as response:
            assert response.status == 200
        await client.wait_for(lambda: client.statuses[-1].accepting)
        await client.open(3)
        await client.wait_reply(3, "opened")
        assert client.kinds(1) == ["opened", "please_move"]


async def test_stopping_moves_then_closes_what_stayed_and_ends_links_well(start_server: Any) -> None:
    async with start_server(stop_grace_seconds=0.2) as running, link(running.address, running.metadata) as client:
        await client.open(1)
        await client.wait_reply(1, "opened")
        await running.server.stop()
        await client.wait_for(lambda: client.ended)
        assert client.ended is grpc.StatusCode.OK
        assert client.kinds(1) == ["opened", "please_move", "closed"]
        assert client.replies[1][-1].closed.reason == asr_pb2.Closed.STOPPING
        assert client.replies[1][1].please_move.within_ms == 200
