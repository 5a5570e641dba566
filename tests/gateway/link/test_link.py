"""A link against a real gRPC server on a real socket."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import MAX_MESSAGE_BYTES
from streamstack_gateway.link.attempt import PIECE_BYTES, LinkAttempt
from streamstack_gateway.link.channel import Endpoint, Transport
from streamstack_gateway.link.link import Link
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.link.outbox import OutboxLimits
from streamstack_gateway.link.settings import LinkSettings
from support.fake_asr import FakeAsr
from support.recording_listener import RecordingListener
from support.waiting import Waiting

QUICK = LinkSettings(heartbeat_seconds=0.05, missed_heartbeats=8)
CHUNK = b"\1\2" * 2560


class Session(RecordingListener):
    """A session and its owner in one."""

    def __init__(self, name: str = "session", *, raises_in: str = "") -> None:
        super().__init__(name, raises_in=raises_in)
        self.refusals: list[int] = []
        self.closed_by_itself = 0

    def opened(self, attempt: LinkAttempt) -> None:  # type: ignore[override]
        super().opened(attempt)

    def refused(self, attempt: LinkAttempt, message: asr_pb2.Refused) -> None:
        self.refusals.append(message.reason)
        self.notify()

    def ended(self, attempt: LinkAttempt, loss: Loss | None) -> None:
        if loss is None:
            self.closed_by_itself += 1
        else:
            self.lost(loss)


class Rig(Waiting):
    """One link to one fake server; hears the link's events."""

    def __init__(self, asr: FakeAsr, settings: LinkSettings = QUICK, bearer: str = "Bearer token") -> None:
        super().__init__()
        self.asr = asr
        self.statuses = 0
        self.losses: list[tuple[Loss, str]] = []
        self.batches: list[float] = []
        self.channel = Transport().open(Endpoint(asr.address, "127.0.0.1"))
        self.link = Link(
            channel=self.channel,
            metadata=[("authorization", bearer)],
            events=self,
            observe_batch=self.batches.append,
            settings=settings,
        )

    def link_status(self, link: Link, status: asr_pb2.ServerStatus) -> None:
        self.statuses += 1
        self.notify()

    def link_lost(self, link: Link, loss: Loss, detail: str) -> None:
        self.losses.append((loss, detail))
        self.notify()

    async def up(self) -> "Rig":
        await self.until(lambda: self.statuses)
        return self

    async def session(self, name: str = "session", *, raises_in: str = "") -> Session:
        session = Session(name, raises_in=raises_in)
        self.link.open(session.open_request(), session, session)
        await session.until(lambda: session.attempts)
        return session

    async def close(self) -> None:
        self.link.lose(Loss.STOPPED)
        await self.link.closed()
        await self.channel.close()


@pytest.fixture
async def asr() -> AsyncIterator[FakeAsr]:
    async with FakeAsr() as server:
        server.slots = 100
        yield server


@pytest.fixture
async def rig(asr: FakeAsr) -> AsyncIterator[Rig]:
    rig = await Rig(asr).up()
    yield rig
    await rig.close()


def reply(session: int, **fields: object) -> asr_pb2.SessionReply:
    return asr_pb2.SessionReply(session=session, **fields)  # type: ignore[arg-type]


async def test_a_session_opens_sends_and_hears_what_the_server_says(asr: FakeAsr, rig: Rig) -> None:
    session = await rig.session()
    assert session.attempt.facts.instance_id == "fake"
    assert session.attempt.facts.left_context_ms == 500
    session.attempt.audio(0, CHUNK)
    session.attempt.update(asr_pb2.SessionConfig(keyterms=["k"]))
    session.attempt.end_turn(0, 2560)
    link = asr.links[0]
    await link.until(lambda: link.requests("end_turn"))
    assert [request.WhichOneof("request") for request in link.requests()] == ["open", "audio", "update", "end_turn"]
    assert link.requests("audio")[0].audio == asr_pb2.Audio(offset=0, pcm=CHUNK)
    number = link.requests("open")[0].session
    link.send(
        reply(number, hypothesis=asr_pb2.Hypothesis(turn_id=0)),
        reply(number, final=asr_pb2.Final(turn_id=0)),
        reply(number, turn_ended=asr_pb2.TurnEnded(turn_id=0, through_sample=2560)),
        reply(number, please_move=asr_pb2.PleaseMove(reason="retired")),
    )
    await session.until(lambda: "please_move" in session.heard)
    assert session.heard == ["open_request", "opened", "hypothesis", "final", "turn_ended", "please_move"]


async def test_the_credential_travels_in_the_streams_metadata(asr: FakeAsr, rig: Rig) -> None:
    assert asr.links[0].metadata["authorization"] == "Bearer token"


async def test_what_is_due_together_goes_out_together(asr: FakeAsr, rig: Rig) -> None:
    sessions = [await rig.session(f"s{n}") for n in range(20)]
    rig.batches.clear()
    for session in sessions:
        session.attempt.audio(0, CHUNK)
    link = asr.links[0]
    await link.until(lambda: len(link.requests("audio")) == 20)
    assert rig.batches == [20]


async def test_no_message_exceeds_the_bound_and_everything_arrives_in_order_while_the_server_is_slow(
    asr: FakeAsr, rig: Rig
) -> None:
    sessions = [await rig.session(f"s{n}") for n in range(20)]
    link = asr.links[0]
    asr.is_reading.clear()
    for offset in range(0, 60 * 2560, 2560):
        for session in sessions:
            session.attempt.audio(offset, CHUNK)
    asr.is_reading.set()
    await link.until(lambda: len(link.requests("audio")) == 60 * 20)
    assert all(message.ByteSize() <= MAX_MESSAGE_BYTES for message in link.messages)
    for number in link.open_sessions:
        offsets = [request.audio.offset for request in link.requests("audio") if request.session == number]
        assert offsets == list(range(0, 60 * 2560, 2560))


async def test_one_sessions_replay_does_not_delay_the_others(asr: FakeAsr, rig: Rig) -> None:
    loud, quiet = await rig.session("loud"), await rig.session("quiet")
    link = asr.links[0]
    loud.attempt.audio(0, b"\0\0" * 500_000)
    quiet.attempt.audio(0, CHUNK)
    await link.until(lambda: sum(len(r.audio.pcm) for r in link.requests("audio")) == 1_000_000 + len(CHUNK))
    order = [request.session for request in link.requests("audio")]
    assert order.index(2) == 1
    assert all(len(request.audio.pcm) <= PIECE_BYTES for request in link.requests("audio"))


async def test_a_long_piece_of_audio_arrives_whole_in_consecutive_offsets(asr: FakeAsr, rig: Rig) -> None:
    session = await rig.session()
    pcm = bytes(index % 251 for index in range(3 * PIECE_BYTES + 1000))
    session.attempt.audio(800, pcm)
    link = asr.links[0]
    await link.until(lambda: sum(len(request.audio.pcm) for request in link.requests("audio")) == len(pcm))
    pieces = [request.audio for request in link.requests("audio")]
    assert b"".join(piece.pcm for piece in pieces) == pcm
    position = 800
    for piece in pieces:
        assert piece.offset == position
        position += len(piece.pcm) // 2


async def test_heartbeats_count_up_by_one_also_when_nothing_is_due(asr: FakeAsr, rig: Rig) -> None:
    link = asr.links[0]

    def beats() -> list[int]:
        return [message.heartbeat.sequence for message in link.messages if message.HasField("heartbeat")]

    await link.until(lambda: len(beats()) >= 4)
    assert beats() == list(range(1, len(beats()) + 1))


async def test_a_refusal_reaches_the_owner_and_frees_the_number(asr: FakeAsr, rig: Rig) -> None:
    asr.refuse = lambda _open: asr_pb2.Refused.UNKNOWN_MODEL
    session = Session()
    attempt = rig.link.open(session.open_request(), session, session)
    await session.until(lambda: session.refusals)
    assert session.refusals == [asr_pb2.Refused.UNKNOWN_MODEL]
    assert rig.link.sessions == 0
    attempt.audio(0, CHUNK)
    attempt.close()
    assert session.closed_by_itself == 0


async def test_late_replies_of_a_closed_session_are_not_heard(asr: FakeAsr, rig: Rig) -> None:
    closed, other = await rig.session("closed"), await rig.session("other")
    closed.attempt.close()
    closed.attempt.close()
    closed.attempt.audio(0, CHUNK)
    link = asr.links[0]
    link.send(
        reply(1, hypothesis=asr_pb2.Hypothesis()),
        reply(1, closed=asr_pb2.Closed(reason=asr_pb2.Closed.ENGINE_FAILED)),
        reply(77, hypothesis=asr_pb2.Hypothesis()),
        reply(2, hypothesis=asr_pb2.Hypothesis()),
    )
    await other.until(lambda: "hypothesis" in other.heard)
    assert closed.heard == ["open_request", "opened"]
    assert closed.closed_by_itself == 1
    await link.until(lambda: link.requests("close"))
    assert not link.requests("audio")


async def test_a_wish_withdrawn_before_it_was_written_never_reaches_the_server(asr: FakeAsr, rig: Rig) -> None:
    withdrawn = Session("withdrawn")
    rig.link.open(withdrawn.open_request(), withdrawn, withdrawn).close()
    await rig.session("other")
    assert [request.open.session_id for request in asr.links[0].requests()] == ["other"]


@pytest.mark.parametrize(
    ("reason", "loss"),
    [
        (asr_pb2.Closed.ENGINE_FAILED, "closed_engine_failed"),
        (asr_pb2.Closed.INVALID, "closed_invalid"),
        (asr_pb2.Closed.BACKLOG, "closed_backlog"),
        (asr_pb2.Closed.STOPPING, "closed_stopping"),
        (99, "closed_by_server"),
    ],
)
async def test_a_close_nobody_asked_for_ends_only_that_session(asr: FakeAsr, rig: Rig, reason: int, loss: str) -> None:
    one, other = await rig.session("one"), await rig.session("other")
    closed = asr_pb2.Closed()
    closed.reason = reason  # type: ignore[assignment]
    asr.links[0].send(reply(1, closed=closed), reply(2, hypothesis=asr_pb2.Hypothesis()))
    await other.until(lambda: "hypothesis" in other.heard)
    assert one.losses == [loss]
    assert other.losses == []


async def test_a_listeners_bug_ends_its_session_alone_and_is_logged_without_content(
    asr: FakeAsr, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    buggy, other = await rig.session("buggy", raises_in="hypothesis"), await rig.session("other")
    with caplog.at_level(logging.ERROR):
        asr.links[0].send(
            reply(1, hypothesis=asr_pb2.Hypothesis()),
            reply(1, hypothesis=asr_pb2.Hypothesis()),
            reply(2, hypothesis=asr_pb2.Hypothesis()),
        )
        await other.until(lambda: "hypothesis" in other.heard)
    assert buggy.losses == ["listener_failed"]
    assert buggy.heard.count("hypothesis") == 1
    assert "RuntimeError" in caplog.text
    assert "recording_listener.py" in caplog.text
    assert "words of a caller" not in caplog.text
    link = asr.links[0]
    await link.until(lambda: link.requests("close"))


async def test_a_bug_in_lost_does_not_keep_the_others_from_hearing_their_loss(asr: FakeAsr, rig: Rig) -> None:
    sessions = [await rig.session("first", raises_in="lost"), await rig.session("second")]
    asr.links[0].end()
    await sessions[1].until(lambda: sessions[1].losses)
    assert [session.losses for session in sessions] == [["link_ended"], ["link_ended"]]


async def test_words_before_a_slot_break_the_contract_and_end_the_attempt(asr: FakeAsr, rig: Rig) -> None:
    asr.answers_opens = False
    session = Session()
    rig.link.open(session.open_request(), session, session)
    link = asr.links[0]
    await link.until(lambda: link.requests("open"))
    link.send(reply(1, hypothesis=asr_pb2.Hypothesis()))
    await session.until(lambda: session.losses)
    assert session.losses == ["session_protocol"]


async def test_a_frozen_server_is_a_lost_link_for_all_its_sessions(asr: FakeAsr, rig: Rig) -> None:
    sessions = [await rig.session(f"s{n}") for n in range(3)]
    asr.is_silent = True
    await sessions[2].until(lambda: sessions[2].losses)
    assert [session.losses for session in sessions] == [["link_frozen"]] * 3
    assert [loss for loss, _ in rig.losses] == [Loss.FROZEN]


async def test_a_server_that_never_speaks_is_given_up_as_not_connected(asr: FakeAsr) -> None:
    asr.is_silent = True
    rig = Rig(asr, LinkSettings(heartbeat_seconds=0.05, connect_seconds=0.2))
    await rig.until(lambda: rig.losses)
    assert rig.losses == [(Loss.CONNECT_TIMEOUT, "")]
    await rig.close()


async def test_the_servers_death_is_told_once_and_typed(asr: FakeAsr, rig: Rig) -> None:
    session = await rig.session()
    await asr.stop()
    await session.until(lambda: session.losses)
    assert session.losses == [rig.losses[0][0]]
    assert session.losses[0] in {"link_unavailable", "link_rpc_failed"}
    session.attempt.audio(0, CHUNK)
    session.attempt.close()
    assert len(rig.losses) == 1
    assert session.closed_by_itself == 0


async def test_a_wrong_credential_is_a_typed_loss() -> None:
    # Where a write of ours meets the server's refusal, gRPC now and then forgets the refusal and names itself
    # (grpc/aio/_call.py, set_internal_error). The gateway connects again either way, and hears it then.
    forgotten = [(Loss.RPC_FAILED, "Internal error from Core")]
    losses = forgotten
    async with FakeAsr(accepts=lambda bearer: bearer == "Bearer right") as asr:
        for _ in range(10):
            if losses == forgotten:
                rig = Rig(asr, bearer="Bearer wrong")
                await rig.until(lambda rig=rig: rig.losses)
                losses = rig.losses
                await rig.close()
    assert losses == [(Loss.UNAUTHENTICATED, "expected the stack's credential")]


async def test_nobody_at_the_address_is_a_typed_loss() -> None:
    async with FakeAsr() as asr:
        address = asr.address
    gone = FakeAsr()
    gone.address = address
    rig = Rig(gone)
    await rig.until(lambda: rig.losses)
    assert rig.losses[0][0] is Loss.UNAVAILABLE
    await rig.close()


async def test_a_session_beyond_its_backlog_is_lost_alone_and_not_from_within_its_own_call(asr: FakeAsr) -> None:
    rig = await Rig(asr, LinkSettings(outbox=OutboxLimits(session_bytes=100_000))).up()
    greedy, other = await rig.session("greedy"), await rig.session("other")
    greedy.attempt.audio(0, b"\0\0" * 100_000)
    assert greedy.losses == []
    other.attempt.audio(0, CHUNK)
    await greedy.until(lambda: greedy.losses)
    assert greedy.losses == ["session_backlog"]
    link = asr.links[0]
    await link.until(lambda: link.requests("close") and link.requests("audio"))
    # What was queued before the gap may have left; nothing after it may.
    pieces = [request.audio for request in link.requests("audio") if request.session == 1]
    assert [piece.offset for piece in pieces] == [n * PIECE_BYTES // 2 for n in range(len(pieces))]
    assert sum(len(piece.pcm) for piece in pieces) <= 100_000
    assert other.losses == []
    await rig.close()


async def test_a_session_that_closes_right_after_overrunning_hears_nothing_more(asr: FakeAsr) -> None:
    rig = await Rig(asr, LinkSettings(outbox=OutboxLimits(session_bytes=100_000))).up()
    greedy, other = await rig.session("greedy"), await rig.session("other")
    greedy.attempt.audio(0, b"\0\0" * 100_000)
    greedy.attempt.close()
    asr.links[0].send(reply(2, hypothesis=asr_pb2.Hypothesis()))
    await other.until(lambda: "hypothesis" in other.heard)
    assert (greedy.losses, greedy.closed_by_itself) == ([], 1)
    await rig.close()


async def test_a_link_beyond_its_backlog_is_lost_for_all(asr: FakeAsr) -> None:
    rig = await Rig(asr, LinkSettings(outbox=OutboxLimits(link_bytes=100_000))).up()
    sessions = [await rig.session(f"s{n}") for n in range(3)]
    for session in sessions:
        session.attempt.audio(0, b"\0\0" * 25_000)
    await sessions[0].until(lambda: sessions[0].losses)
    assert [session.losses for session in sessions] == [["link_backlog"]] * 3
    assert [loss for loss, _ in rig.losses] == [Loss.BACKLOG]
    await rig.close()


async def test_an_open_on_a_link_that_is_over_is_heard_of_no_more(asr: FakeAsr) -> None:
    rig = await Rig(asr).up()
    await rig.close()
    session = Session()
    attempt = rig.link.open(session.open_request(), session, session)
    attempt.audio(0, CHUNK)
    attempt.close()
    await asyncio.sleep(0)
    assert session.heard == ["open_request"]
