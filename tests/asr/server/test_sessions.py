"""One link's sessions, without a network: a stand-in engine records what reaches it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import (
    Emit,
    EngineDescription,
    EngineError,
    Failed,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    Transcript,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.engines.scripted import create
from streamstack_asr.server.outbox import Outbox
from streamstack_asr.server.sessions import LinkSessions, Shared
from streamstack_asr.server.slots import Slots
from streamstack_asr.server.totals import Totals
from streamstack_common.contracts import asr_pb2
from support.scripted_audio import script


class RecordingSession:
    def __init__(self, start: SessionStart, emit: Emit) -> None:
        self.start = start
        self.emit = emit
        self.calls: list[Any] = []
        self.closed = 0

    def push(self, pcm: bytes) -> None:
        if pcm == b"\xff\xff":
            raise EngineError("the worker died")
        self.calls.append(len(pcm) // 2)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        self.calls.append((turn_id, through_sample))

    def update(self, config: SessionConfig) -> None:
        self.calls.append(config)

    def close(self) -> None:
        self.closed += 1
        self.emit(Failed("said while closing"))


class RecordingEngine:
    """Opens sessions named ``bad`` with an error, and those named ``dead`` fail at once."""

    def __init__(self) -> None:
        self.sessions: dict[str, RecordingSession] = {}

    def describe(self) -> EngineDescription:
        return EngineDescription(engine="recording", models=("m",), chunk_ms=100, left_context_ms=0, window_ms=1000)

    def prepare(self) -> None: ...

    async def start(self) -> None: ...

    def open(self, start: SessionStart, emit: Emit) -> RecordingSession:
        if start.session_id == "bad":
            raise EngineError("no worker is left")
        session = self.sessions[start.session_id] = RecordingSession(start, emit)
        if start.session_id == "dead":
            emit(Failed("died at birth"))
        return session

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        raise EngineError("no batch mode")

    async def stop(self) -> None: ...


class Bench:
    """A link's sessions with their outbox read back."""

    def __init__(self, *, slots: int = 4) -> None:
        self.engine = RecordingEngine()
        self.slots = Slots(total=slots, models=("m",))
        self.slots.warm()
        self.totals = Totals()
        self.outbox = Outbox(wake=lambda: None, status=lambda: b"")
        shared = Shared(engine=self.engine, slots=self.slots, totals=self.totals, instance_id="i")
        self.sessions = LinkSessions(shared, self.outbox)

    def send(self, number: int, **request: Any) -> None:
        self.sessions.receive([asr_pb2.SessionRequest(session=number, **request)])

    def open(self, number: int, **fields: Any) -> RecordingSession | None:
        fields = {"session_id": f"s{number}", "model": "m"} | fields
        self.send(number, open=asr_pb2.Open(**fields))
        return self.engine.sessions.get(fields["session_id"])

    def audio(self, number: int, offset: int, samples: int) -> None:
        self.send(number, audio=asr_pb2.Audio(offset=offset, pcm=bytes(2 * samples)))

    def replies(self) -> list[tuple[int, str, Any]]:
        replies = asr_pb2.FromAsr.FromString(self.outbox.take()).replies
        found = []
        for reply in replies:
            kind = reply.WhichOneof("reply")
            assert kind is not None
            found.append((reply.session, kind, getattr(reply, kind)))
        return found

    def only_closed(self, number: int) -> tuple[str, str]:
        """Reason and message of the one reply, a Closed."""
        ((session, kind, message),) = self.replies()
        assert (session, kind) == (number, "closed")
        return asr_pb2.Closed.Reason.Name(message.reason), message.message


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def running(bench: Bench) -> RecordingSession:
    """Session 1, from sample 1000 on, with turn 5 open."""
    session = bench.open(1, first_sample=1000, turn_start_sample=1000, turn_id=5, attempt=2)
    assert session is not None
    assert [(number, kind) for number, kind, _ in bench.replies()] == [(1, "opened")]
    return session


def test_audio_without_a_gap_reaches_the_engine(bench: Bench, running: RecordingSession) -> None:
    bench.audio(1, 1000, 160)
    bench.audio(1, 1160, 0)
    bench.audio(1, 1160, 40)
    assert running.calls == [160, 40]
    assert bench.replies() == []
    assert bench.totals.audio_samples == 200


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (1161, "a gap: audio at sample 1161, expected 1160"),
        (1159, "an overlap: audio at sample 1159, expected 1160"),
    ],
)
def test_a_gap_or_overlap_closes_the_session_and_frees_its_slot(
    bench: Bench, running: RecordingSession, offset: int, message: str
) -> None:
    bench.audio(1, 1000, 160)
    bench.audio(1, offset, 160)
    assert bench.only_closed(1) == ("INVALID", message)
    assert (running.closed, bench.slots.free) == (1, 4)


def test_an_odd_byte_closes_the_session(bench: Bench, running: RecordingSession) -> None:
    bench.send(1, audio=asr_pb2.Audio(offset=1000, pcm=b"abc"))
    assert bench.only_closed(1) == ("INVALID", "3 bytes of audio: expected 16-bit samples, an even number")
    assert running.closed == 1


def test_only_the_session_that_broke_the_contract_ends(bench: Bench, running: RecordingSession) -> None:
    bench.open(2)
    bench.replies()
    bench.audio(2, 7, 10)
    assert bench.only_closed(2)[0] == "INVALID"
    bench.audio(1, 1000, 160)
    assert running.calls == [160]


def test_audio_beyond_the_window_closes_and_decoding_moves_the_window(bench: Bench, running: RecordingSession) -> None:
    bench.audio(1, 1000, 16_000)
    running.emit(Hypothesis(5, 9000, 9000, 0, (), 0.0, 0))
    bench.audio(1, 17_000, 8000)
    assert [kind for _, kind, _ in bench.replies()] == ["hypothesis"]
    bench.audio(1, 25_000, 1)
    reason, message = bench.only_closed(1)
    assert reason == "BACKLOG"
    assert message == "audio up to sample 25001, decoded up to 9000: expected at most 1000 ms ahead"


def test_late_requests_of_a_session_that_is_over_are_ignored(bench: Bench, running: RecordingSession) -> None:
    bench.send(1, close=asr_pb2.Close())
    assert bench.only_closed(1) == ("REQUESTED", "")
    bench.audio(1, 1000, 160)
    bench.send(1, close=asr_pb2.Close())
    running.emit(Hypothesis(5, 9000, 9000, 0, (), 0.0, 0))
    assert bench.replies() == []
    assert running.closed == 1


def test_a_session_that_was_never_opened_is_told_so_once(bench: Bench) -> None:
    bench.audio(9, 0, 160)
    assert bench.only_closed(9) == ("INVALID", "session 9 is not open: expected Open before audio")
    bench.audio(9, 160, 160)
    assert bench.replies() == []


def test_a_number_used_twice_is_refused_and_the_first_session_goes_on(bench: Bench, running: RecordingSession) -> None:
    bench.open(1, session_id="other")
    ((number, kind, refused),) = bench.replies()
    assert (number, kind, refused.reason) == (1, "refused", asr_pb2.Refused.INVALID)
    assert refused.message == "session number 1 was used before on this link"
    bench.audio(1, 1000, 160)
    assert running.calls == [160]
    assert bench.slots.in_use == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": "other"}, asr_pb2.Refused.UNKNOWN_MODEL),
        ({"first_sample": 10, "turn_start_sample": 9}, asr_pb2.Refused.INVALID),
        ({"turn_start_sample": 1 << 60}, asr_pb2.Refused.INVALID),
        ({"turn_id": (1 << 32) - 1}, asr_pb2.Refused.INVALID),
    ],
)
def test_a_wrong_open_is_refused_with_its_reason(
    bench: Bench, fields: dict[str, Any], reason: asr_pb2.Refused.Reason
) -> None:
    bench.open(3, **fields)
    ((_, kind, refused),) = bench.replies()
    assert (kind, refused.reason, bench.slots.in_use) == ("refused", reason, 0)
    assert bench.totals.opens == {asr_pb2.Refused.Reason.Name(reason): 1}
    assert "expected" in refused.message


def test_a_full_server_refuses(bench: Bench) -> None:
    for number in range(5):
        bench.open(number)
    assert [(number, kind) for number, kind, _ in bench.replies()][-1] == (4, "refused")
    assert bench.totals.opens == {"OPENED": 4, "FULL": 1}


@pytest.mark.parametrize(
    ("turn_id", "through", "message"),
    [
        (6, 1100, "EndTurn of turn 6: expected the open turn 5"),
        (5, 1161, "EndTurn at sample 1161: expected 1000 to 1160"),
        (5, 999, "EndTurn at sample 999: expected 1000 to 1160"),
    ],
)
def test_a_wrong_end_of_turn_closes_the_session(
    bench: Bench, running: RecordingSession, turn_id: int, through: int, message: str
) -> None:
    bench.audio(1, 1000, 160)
    bench.send(1, end_turn=asr_pb2.EndTurn(turn_id=turn_id, through_sample=through))
    assert bench.only_closed(1) == ("INVALID", message)
    assert running.calls == [160]


def test_turns_end_in_order_and_never_go_back(bench: Bench, running: RecordingSession) -> None:
    bench.audio(1, 1000, 160)
    bench.send(1, end_turn=asr_pb2.EndTurn(turn_id=5, through_sample=1100))
    bench.send(1, end_turn=asr_pb2.EndTurn(turn_id=6, through_sample=1100))
    assert running.calls == [160, (5, 1100), (6, 1100)]
    bench.send(1, end_turn=asr_pb2.EndTurn(turn_id=7, through_sample=1099))
    assert bench.only_closed(1) == ("INVALID", "EndTurn at sample 1099: expected 1100 to 1160")


def test_what_the_engine_says_becomes_replies_with_the_attempt_of_the_open(
    bench: Bench, running: RecordingSession
) -> None:
    word = Word("ja", 1000, 1100, 0.5, True)
    running.emit(Hypothesis(5, 1200, 1100, 0, (word,), 0.25, 7, 0.75, "de", 0.5))
    running.emit(Final(5, 1, (), "de", 0.5))
    running.emit(TurnEnded(5, 1150))
    (_, _, hypothesis), (_, _, final), (_, _, ended) = bench.replies()
    assert hypothesis == asr_pb2.Hypothesis(
        turn_id=5,
        attempt=2,
        through_sample=1200,
        stable_through_sample=1100,
        words=[asr_pb2.Word(text="ja", start_sample=1000, end_sample=1100, confidence=0.5, is_final=True)],
        speech_probability=0.25,
        trailing_silence_ms=7,
        turn_complete_probability=0.75,
        language="de",
        language_confidence=0.5,
    )
    assert final == asr_pb2.Final(turn_id=5, attempt=2, words_before=1, language="de", language_confidence=0.5)
    assert ended == asr_pb2.TurnEnded(turn_id=5, attempt=2, through_sample=1150)


def test_a_reply_that_is_all_zeros_is_still_that_reply(bench: Bench) -> None:
    session = bench.open(1)
    assert session is not None
    session.emit(Hypothesis(0, 0, 0, 0, (), 0.0, 0))
    session.emit(Final(0, 0, ()))
    session.emit(TurnEnded(0, 0))
    assert [kind for _, kind, _ in bench.replies()] == ["opened", "hypothesis", "final", "turn_ended"]


def test_an_absent_turn_complete_probability_stays_absent(bench: Bench, running: RecordingSession) -> None:
    running.emit(Hypothesis(5, 1200, 1100, 0, (), 0.25, 7))
    ((_, _, hypothesis),) = bench.replies()
    assert not hypothesis.HasField("turn_complete_probability")


def test_a_failed_engine_closes_the_session_and_frees_the_slot(bench: Bench, running: RecordingSession) -> None:
    running.emit(Failed("worker 3 died"))
    assert bench.only_closed(1) == ("ENGINE_FAILED", "worker 3 died")
    assert (running.closed, bench.slots.in_use, bench.totals.closed) == (1, 0, {"ENGINE_FAILED": 1})


def test_an_engine_that_fails_in_a_call_ends_that_session_alone(bench: Bench, running: RecordingSession) -> None:
    bench.send(1, audio=asr_pb2.Audio(offset=1000, pcm=b"\xff\xff"))
    assert bench.only_closed(1) == ("ENGINE_FAILED", "the worker died")
    assert running.closed == 1


@pytest.mark.parametrize(("session_id", "message"), [("bad", "no worker is left"), ("dead", "died at birth")])
def test_an_engine_that_cannot_begin_closes_the_session(bench: Bench, session_id: str, message: str) -> None:
    session = bench.open(1, session_id=session_id)
    (_, opened, _), (_, closed, reply) = bench.replies()
    assert (opened, closed, reply.reason, reply.message) == ("opened", "closed", asr_pb2.Closed.ENGINE_FAILED, message)
    assert bench.slots.in_use == 0
    assert session is None or session.closed == 1


def test_an_update_reaches_the_engine(bench: Bench, running: RecordingSession) -> None:
    config = asr_pb2.SessionConfig(keyterms=["Zoë"], language="de", format=True)
    bench.send(1, update=asr_pb2.Update(config=config))
    assert running.calls == [SessionConfig(("Zoë",), "de", True)]


def test_a_request_of_a_newer_contract_is_ignored(bench: Bench, running: RecordingSession) -> None:
    newer = asr_pb2.SessionRequest.FromString(b"\x08\x01\xfa\x01\x02\x08\x01")
    bench.sessions.receive([newer])
    assert bench.replies() == []
    assert running.closed == 0


def test_the_end_of_the_link_frees_every_slot_in_silence(bench: Bench, running: RecordingSession) -> None:
    bench.open(2)
    bench.replies()
    bench.sessions.link_lost()
    assert (bench.slots.in_use, running.closed, len(bench.sessions)) == (0, 1, 0)
    assert bench.replies() == []
    assert bench.totals.closed == {"LINK_LOST": 2}


def test_moving_and_closing_reach_every_session(bench: Bench, running: RecordingSession) -> None:
    bench.open(2)
    bench.replies()
    bench.sessions.please_move("retired", 60_000)
    bench.sessions.close_all(asr_pb2.Closed.STOPPING, "bye")
    said = [(number, kind) for number, kind, _ in bench.replies()]
    assert said == [(1, "please_move"), (2, "please_move"), (1, "closed"), (2, "closed")]
    assert (bench.slots.in_use, running.closed) == (0, 1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.one_of(
                st.tuples(st.just("open"), st.integers(0, 300), st.integers(0, 300)),
                st.tuples(st.just("audio"), st.integers(0, 3), st.integers(0, 640)),
                st.tuples(st.just("end_turn"), st.integers(0, 2), st.integers(0, 1000)),
                st.tuples(st.just("close"), st.just(0), st.just(0)),
            ),
        ),
        max_size=60,
    )
)
def test_no_sequence_of_requests_breaks_a_link_or_loses_a_slot(
    requests: list[tuple[int, tuple[str, int, int]]],
) -> None:
    slots = Slots(total=3, models=("m",))
    slots.warm()
    outbox = Outbox(wake=lambda: None, status=lambda: b"")
    engine = create(EngineOptions(models=("m",)))
    link = LinkSessions(Shared(engine=engine, slots=slots, totals=Totals(), instance_id="i"), outbox)
    pcm = script("abc def").pcm
    for number, (kind, first, second) in requests:
        message: dict[str, Any] = {
            "open": lambda a=first, b=second: asr_pb2.Open(model="m", first_sample=a, turn_start_sample=b),
            "audio": lambda a=first, b=second: asr_pb2.Audio(offset=a * 160, pcm=pcm[:b]),
            "end_turn": lambda a=first, b=second: asr_pb2.EndTurn(turn_id=a, through_sample=b),
            "close": asr_pb2.Close,
        }
        link.receive([asr_pb2.SessionRequest(session=number, **{kind: message[kind]()})])
    over: set[int] = set()
    for reply in asr_pb2.FromAsr.FromString(outbox.take()).replies:
        said = reply.WhichOneof("reply")
        assert reply.session not in over or said == "refused", "nothing but a refusal follows the end of a session"
        if said == "closed":
            over.add(reply.session)
    assert slots.in_use == len(link)
    link.link_lost()
    assert slots.in_use == 0
