"""A level against servers that answer as a test tells them to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamstack_cli.calibration import link
from streamstack_cli.calibration.link import LinkError, Server
from streamstack_cli.calibration.load import LevelPlan, measure
from streamstack_cli.calibration.speaker import spread
from streamstack_common.contracts import asr_pb2
from streamstack_common.credential import Credential
from support.fake_asr import FakeAsr, FakeLink
from support.service import TOKEN, write_credential

PLAN = LevelPlan(
    model="en-default",
    pcm=bytes(range(200)) * 100,
    chunk_ms=20,
    settle_seconds=0.1,
    seconds=0.3,
    turn_seconds=0.1,
    target_seconds=0.05,
)
CHUNKS = 15
"""In a window of 0.3 s, of each session."""


@pytest.fixture
async def fake() -> AsyncIterator[FakeAsr]:
    async with FakeAsr(accepts=lambda bearer: bearer == f"Bearer {TOKEN}") as server:
        yield server


@pytest.fixture
def server(fake: FakeAsr, tmp_path: Path) -> Server:
    return Server(fake.address, Credential(write_credential(tmp_path)))


async def test_sessions_share_one_link_and_begin_one_after_the_other(fake: FakeAsr, server: Server) -> None:
    await measure(server, 4, PLAN)
    (only,) = fake.links
    assert [request.open.model for request in only.requests("open")] == ["en-default"] * 4
    assert [request.session for request in only.requests("open")] == sorted([1, 2, 3, 4], key=spread)
    await only.until(lambda: only.is_over)


async def test_every_session_speaks_in_turns_without_a_gap(fake: FakeAsr, server: Server) -> None:
    await measure(server, 3, PLAN)
    for number in (1, 2, 3):
        offset, turns = 0, 0
        for request in fake.requests():
            if request.session == number and request.HasField("audio"):
                assert (request.audio.offset, len(request.audio.pcm)) == (offset, 640)
                offset += 320
            elif request.session == number and request.HasField("end_turn"):
                assert (request.end_turn.turn_id, request.end_turn.through_sample) == (turns, offset)
                turns += 1
        assert offset >= CHUNKS * 320
        assert turns >= 2


async def test_a_chunk_that_nobody_answers_counts_as_late(fake: FakeAsr, server: Server) -> None:
    tally = await measure(server, 2, PLAN)
    assert (len(tally.latencies), tally.late, tally.failures) == (2 * CHUNKS, 2 * CHUNKS, [])
    assert len(tally.lags) == 2 * CHUNKS


async def test_a_chunk_that_is_answered_has_a_latency_and_an_ended_turn_has_one(fake: FakeAsr, server: Server) -> None:
    async def answer() -> None:
        await fake.until(lambda: fake.links)
        only = fake.links[0]
        replied = 0

        def has_news() -> bool:
            return len(only.requests()) > replied or only.is_over

        while not only.is_over:
            await only.until(has_news)
            for request in only.requests()[replied:]:
                reply(only, request)
                replied += 1

    def reply(only: FakeLink, request: asr_pb2.SessionRequest) -> None:
        if request.HasField("audio"):
            through = request.audio.offset + len(request.audio.pcm) // 2
            said = asr_pb2.Hypothesis(through_sample=through)
            only.send(asr_pb2.SessionReply(session=request.session, hypothesis=said))
        elif request.HasField("end_turn"):
            ended = asr_pb2.TurnEnded(turn_id=request.end_turn.turn_id)
            only.send(asr_pb2.SessionReply(session=request.session, turn_ended=ended))

    answering = asyncio.create_task(answer())
    tally = await measure(server, 1, PLAN)
    await answering
    assert (len(tally.latencies), tally.failures) == (CHUNKS, [])
    assert tally.turn_ends
    assert tally.driver_share > 0


@pytest.mark.parametrize("reason", [asr_pb2.Refused.FULL, asr_pb2.Refused.NOT_ACCEPTING])
async def test_a_refusal_ends_the_level_and_is_told(
    fake: FakeAsr, server: Server, reason: asr_pb2.Refused.Reason
) -> None:
    fake.refuse = lambda _open: reason
    tally = await measure(server, 2, PLAN)
    assert tally.failures[0].startswith(f"a session was refused, {asr_pb2.Refused.Reason.Name(reason)}")


async def test_a_session_that_the_server_closes_ends_the_level_and_is_told(fake: FakeAsr, server: Server) -> None:
    measuring = asyncio.create_task(measure(server, 2, PLAN))
    await fake.until(lambda: fake.links and fake.links[0].open_sessions)
    only = fake.links[0]
    closed = asr_pb2.Closed(reason=asr_pb2.Closed.BACKLOG, message="far ahead")
    only.send(asr_pb2.SessionReply(session=min(only.open_sessions), closed=closed))
    assert (await measuring).failures == ["a session was closed, BACKLOG: far ahead"]


async def test_a_link_that_is_lost_ends_the_level_and_is_told(fake: FakeAsr, server: Server) -> None:
    measuring = asyncio.create_task(measure(server, 2, PLAN))
    await fake.until(lambda: fake.links and fake.links[0].open_sessions)
    only = fake.links[0]
    only.end()
    assert (await measuring).failures == ["the link was lost: the server ended the link"]


async def test_it_waits_until_the_slots_of_the_level_before_are_free(fake: FakeAsr, server: Server) -> None:
    fake.slots = 1
    measuring = asyncio.create_task(measure(server, 2, PLAN))
    await fake.until(lambda: fake.links)
    assert not fake.requests("open")
    fake.slots = 2
    await measuring
    assert len(fake.requests("open")) == 2


async def test_a_server_that_never_has_room_is_told(
    fake: FakeAsr, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CALL_SECONDS", 0.2)
    with pytest.raises(LinkError, match=f"{fake.address} has no 5 free slots within 0.2 s"):
        await measure(server, 5, PLAN)


async def test_a_wrong_credential_is_told_in_the_servers_words(fake: FakeAsr, tmp_path: Path) -> None:
    wrong = Server(fake.address, Credential(write_credential(tmp_path, "not-the-right-one")))
    with pytest.raises(LinkError, match="UNAUTHENTICATED: expected the stack's credential"):
        await measure(wrong, 1, PLAN)


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    nobody = Server("127.0.0.1:1", Credential(write_credential(tmp_path)))
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1: UNAVAILABLE"):
        await nobody.describe()
