from dataclasses import dataclass, field, replace

import pytest

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import ms_to_samples
from streamstack_gateway import errors
from streamstack_gateway.dialects.events import (
    Begun,
    ConfigurationChange,
    Encoding,
    Failure,
    ForceEndpoint,
    Heartbeat,
    KeepAlive,
    ServerEvent,
    SessionRequest,
    Terminate,
    Terminated,
    Turn,
    TurnSettings,
    Warned,
)
from streamstack_gateway.models import Resolved
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import Limits
from streamstack_gateway.session.session import Session
from support.fake_pools import HandPools, HandServer
from support.hypotheses import hypothesis, word

SETTINGS = TurnSettings(
    end_of_turn_confidence_threshold=0.4,
    min_turn_silence_ms=400,
    max_turn_silence_ms=1280,
    vad_threshold=0.4,
    format_turns=False,
    include_partial_turns=True,
)
REQUEST = SessionRequest(None, 16_000, Encoding.PCM_S16LE, SETTINGS)
FRAME = bytes(1600)  # 50 ms


@dataclass
class Case:
    """A session with a client, servers and a clock that the test plays."""

    request: SessionRequest = REQUEST
    limits: Limits = field(default_factory=Limits)
    sent: list[ServerEvent] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    over: list[Session] = field(default_factory=list)
    now: float = 1000.0
    pools: HandPools = field(default_factory=HandPools)
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(1 << 26))

    def __post_init__(self) -> None:
        self.session = Session(
            "id",
            self.request,
            Resolved("english", "en-default", "universal-streaming-english"),
            client=self,
            pools=self.pools,
            budget=self.budget,
            limits=self.limits,
            now=self.now,
            wall_seconds=1_790_000_000.0,
            on_over=self.over.append,
        )
        self.session.begin()

    def send(self, event: ServerEvent) -> None:
        assert not self.closed, "a message after the close"
        self.sent.append(event)

    def close(self, code: int) -> None:
        self.closed.append(code)

    def audio(self, ms: int) -> None:
        for _ in range(ms // 50):
            self.session.audio(FRAME, self.now)
            self.now += 0.05

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            self.session.tick(self.now)

    def heard(self, through_ms: int) -> None:
        turn = self.session.recognition.upstream.turn_id
        self.session.recognition.hypothesis(hypothesis(turn_id=turn, through_ms=through_ms))

    def answer(self, server: HandServer, *words: asr_pb2.Word) -> None:
        turn_id, through = server.ends[-1]
        attempt = server.request.attempt
        self.session.recognition.final(asr_pb2.Final(turn_id=turn_id, attempt=attempt, words=words))
        self.session.recognition.turn_ended(asr_pb2.TurnEnded(turn_id=turn_id, attempt=attempt, through_sample=through))

    @property
    def failure(self) -> tuple[int, str]:
        last = self.sent[-1]
        assert isinstance(last, Failure)
        assert self.closed == [last.code]
        return last.code, last.message


def test_begin_comes_first_and_before_any_server_is_there() -> None:
    case = Case(replace(REQUEST, warnings=(Warned(1, "no"),)))
    begun = case.sent[0]
    assert isinstance(begun, Begun)
    assert begun.expires_at == 1_790_000_000 + 10_800
    assert begun.model == "universal-streaming-english"
    assert isinstance(case.sent[1], Warned)
    assert case.pools.waiting


def test_terminate_ends_the_open_turn_then_the_session() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(1025)
    case.session.receive(Terminate(), case.now)
    case.heard(1000)
    assert server.ends == [(0, ms_to_samples(1000))]
    case.answer(server, word("mill", 100, 500, final=True))
    turn, terminated = case.sent[-2:]
    assert isinstance(turn, Turn)
    assert turn.end_of_turn
    assert isinstance(terminated, Terminated)
    assert terminated.audio_duration_seconds == 1
    assert case.closed == [1000]
    assert case.over == [case.session]
    assert case.session.outcome == "terminated"
    assert server.closed


def test_terminate_without_audio_is_answered_at_once() -> None:
    case = Case()
    case.session.receive(Terminate(), case.now)
    assert isinstance(case.sent[-1], Terminated)
    assert case.closed == [1000]


def test_terminate_is_answered_within_five_seconds_by_a_stuck_server() -> None:
    case = Case()
    case.pools.serve()
    case.audio(1000)
    case.session.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=600))
    case.session.receive(Terminate(), case.now)
    asked = case.now
    case.wait(5)
    assert case.now - asked < 5.2
    warned, turn, terminated = case.sent[-3:]
    assert isinstance(warned, Warned)
    assert isinstance(turn, Turn)
    assert (turn.transcript, turn.end_of_turn) == ("mill", True)
    assert isinstance(terminated, Terminated)


def test_terminate_waits_for_a_server_that_makes_progress() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(8000)
    case.session.receive(Terminate(), case.now)
    # It may say the same again and again while it goes through its audio once more.
    for through_ms in (1000, 1000, 1000, 2000, 5000, 8000, 8000):
        case.session.recognition.hypothesis(hypothesis(through_ms=through_ms))
        case.wait(3)
    assert case.closed == []
    case.answer(server, word("mill", 100, 500, final=True))
    assert case.closed == [1000]


def test_terminate_while_a_turn_is_already_ending_waits_for_all_audio() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(2000)
    case.session.recognition.hypothesis(
        hypothesis([word("mill", 100, 500)], through_ms=1500, speech=0, silence_ms=1000)
    )
    case.session.receive(Terminate(), case.now)
    case.answer(server, word("mill", 100, 500, final=True))
    assert case.closed == []
    case.heard(2000)
    case.answer(server, word("five", 1600, 1900, final=True))
    assert [event.transcript for event in case.sent if isinstance(event, Turn) and event.end_of_turn] == [
        "mill",
        "five",
    ]
    assert case.closed == [1000]


def test_force_endpoint_without_an_open_turn_says_nothing() -> None:
    case = Case()
    server = case.pools.serve()
    case.session.receive(ForceEndpoint(), case.now)
    assert server.ends == []
    assert len(case.sent) == 1


def test_force_endpoint_ends_the_turn_behind_all_audio() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(1050)
    case.session.receive(ForceEndpoint(), case.now)
    case.heard(1000)
    assert server.ends == [(0, ms_to_samples(1050))]
    case.answer(server, word("mill", 100, 500, final=True))
    assert isinstance(case.sent[-1], Turn)
    assert case.closed == []


def test_the_longest_session_ends_with_3008_and_no_termination() -> None:
    case = Case(limits=Limits(max_session_seconds=60))
    case.wait(59)
    assert case.closed == []
    case.wait(1.2)
    assert case.failure == (3008, "Session Expired: Maximum session duration exceeded")


def test_words_known_when_a_session_expires_are_not_lost() -> None:
    case = Case(limits=Limits(max_session_seconds=60))
    case.pools.serve()
    case.audio(1000)
    case.session.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=600))
    case.wait(60)
    turn = case.sent[-2]
    assert isinstance(turn, Turn)
    assert (turn.transcript, turn.end_of_turn) == ("mill", True)


def test_inactivity_counts_from_the_last_message_of_any_kind() -> None:
    case = Case(replace(REQUEST, inactivity_timeout_seconds=10))
    case.wait(9)
    case.session.receive(KeepAlive(), case.now)
    case.wait(9)
    case.audio(50)
    case.wait(9)
    assert case.closed == []
    case.wait(2)
    assert case.failure == (3006, "Session terminated due to inactivity: No messages received for 10 seconds")


def test_without_the_parameter_nobody_is_too_quiet() -> None:
    case = Case()
    case.pools.serve()
    case.wait(10_000)
    assert case.closed == []


def test_no_server_anywhere_ends_the_session_typed_after_the_wait() -> None:
    case = Case(limits=Limits(asr_wait_seconds=30))
    case.wait(29)
    assert case.closed == []
    case.wait(2)
    assert case.failure[0] == 3005


def test_the_wait_begins_anew_when_a_server_is_lost() -> None:
    case = Case(limits=Limits(asr_wait_seconds=30))
    case.wait(25)
    case.pools.serve()
    case.wait(100)
    case.session.recognition.lost("killed")
    case.wait(29)
    assert case.closed == []
    case.wait(2)
    assert case.failure[0] == 3005


def test_a_message_of_more_than_a_second_ends_the_session_with_3007() -> None:
    case = Case()
    case.session.audio(bytes(32_002), case.now)
    assert case.failure == (
        3007,
        "Input Duration Error: Input Duration Violation: 1000.1 ms. Expected between 50 and 1000 ms",
    )


def test_one_short_tail_is_tolerated() -> None:
    case = Case()
    case.session.audio(bytes(640), case.now)
    assert case.closed == []


def test_a_second_of_short_messages_ends_the_session_with_3007() -> None:
    case = Case()
    for _ in range(49):
        case.session.audio(bytes(640), case.now)
    assert case.failure[0] == 3007


def test_audio_far_ahead_of_real_time_waits_and_comes_out_at_its_pace() -> None:
    case = Case()
    server = case.pools.serve(window_ms=600_000)
    for _ in range(30):
        case.session.audio(bytes(32_000), case.now)
    assert server.position == 10 * 16_000
    case.wait(8)
    assert 19 * 16_000 < server.position <= 21 * 16_000
    case.wait(10)
    assert server.position == 30 * 16_000


def test_audio_more_than_five_minutes_ahead_of_real_time_ends_the_session_with_3007() -> None:
    case = Case()
    for _ in range(301):
        case.session.audio(bytes(32_000), case.now)
    assert case.failure == (3007, "Audio Transmission Rate Exceeded: Received 301.0 sec. audio in 0.0 sec")
    assert case.budget.used == 0


def test_audio_in_real_time_may_wait_for_a_server_as_long_as_the_session_may() -> None:
    case = Case(limits=Limits(asr_wait_seconds=1000))
    for _ in range(600):
        case.session.audio(bytes(32_000), case.now)
        case.wait(1.0)
    assert case.closed == []
    assert case.budget.used == 600 * 32_000


def test_changed_thresholds_apply_from_the_next_news() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(2000)
    case.session.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=600))
    quiet = hypothesis([word("mill", 100, 500)], through_ms=900, speech=0, silence_ms=300)
    case.session.recognition.hypothesis(quiet)
    assert server.ends == []
    case.session.receive(ConfigurationChange(min_turn_silence_ms=100), case.now)
    case.session.recognition.hypothesis(quiet)
    assert len(server.ends) == 1


def test_heartbeats_come_every_five_seconds_to_those_who_asked() -> None:
    case = Case(replace(REQUEST, heartbeat=True))
    case.audio(1000)
    case.wait(10.5)
    beats = [event for event in case.sent if isinstance(event, Heartbeat)]
    assert len(beats) == 2
    assert beats[0].total_audio_received_ms == 1000
    case.session.receive(ConfigurationChange(heartbeat=False), case.now)
    case.wait(10)
    assert len([event for event in case.sent if isinstance(event, Heartbeat)]) == 2


def test_a_client_that_vanishes_gives_everything_back_and_hears_nothing() -> None:
    case = Case()
    server = case.pools.serve()
    case.audio(1000)
    heard = len(case.sent)
    case.session.gone()
    assert server.closed
    assert case.budget.used == 0
    assert len(case.sent) == heard
    assert case.session.outcome == "client_gone"


def test_nothing_is_said_after_the_end() -> None:
    case = Case()
    case.pools.serve()
    case.session.fail(errors.internal())
    case.session.audio(FRAME, case.now)
    case.session.receive(Terminate(), case.now)
    case.session.fail(errors.expired())
    case.session.gone()
    assert case.failure[0] == 3005
    assert len(case.over) == 1


@pytest.mark.parametrize(
    ("rate", "frame", "encoding"), [(8000, 800, "pcm_s16le"), (8000, 400, "pcm_mulaw"), (48_000, 4800, "pcm_s16le")]
)
def test_the_audio_clock_is_the_clients_own(rate: int, frame: int, encoding: str) -> None:
    case = Case(replace(REQUEST, sample_rate=rate, encoding=Encoding(encoding)))
    case.pools.serve()
    for _ in range(20):
        case.session.audio(bytes(frame), case.now)
    assert case.session.audio_ms == 1000
    case.session.receive(Terminate(), case.now)
    case.wait(5)
    terminated = case.sent[-1]
    assert isinstance(terminated, Terminated)
    assert terminated.audio_duration_seconds == 1
