from dataclasses import dataclass, field

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import ms_to_samples
from streamstack_gateway.dialects.events import Encoding, SessionRequest, Turn, TurnSettings
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.recognition import Recognition
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


@dataclass
class Case:
    """A recognition on servers played by hand, and what it told the session."""

    pools: HandPools = field(default_factory=HandPools)
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(1 << 24))
    turns: list[Turn] = field(default_factory=list)
    caught_up_times: int = 0
    given_up_times: int = 0
    max_turn_seconds: int = 120

    def __post_init__(self) -> None:
        self.recognition = Recognition(
            "session",
            SessionRequest(None, 16_000, Encoding.PCM_S16LE, SETTINGS, keyterms=("Kowalczyk",)),
            pool="english",
            model_version="en-default",
            pools=self.pools,
            budget=self.budget,
            max_turn_seconds=self.max_turn_seconds,
            results=self,
        )

    def turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    def caught_up(self) -> None:
        self.caught_up_times += 1

    def given_up(self) -> None:
        self.given_up_times += 1

    def begin(self) -> HandServer:
        self.recognition.enter()
        return self.pools.serve()

    def audio(self, ms: int) -> None:
        self.recognition.audio(bytes(ms_to_samples(ms) * 2))
        self.recognition.release(self.recognition.upstream.buffer.end)

    def heard(self, through_ms: int, *, attempt: int = 0) -> None:
        """The server has come that far in the open turn and found nothing new."""
        turn = self.recognition.upstream.turn_id
        self.recognition.hypothesis(hypothesis(turn_id=turn, attempt=attempt, through_ms=through_ms))

    def end(self, server: HandServer, *words: asr_pb2.Word, words_before: int = 0) -> None:
        """The server answers the end it was told of."""
        turn_id, through = server.ends[-1]
        attempt = server.request.attempt
        self.recognition.final(asr_pb2.Final(turn_id=turn_id, attempt=attempt, words_before=words_before, words=words))
        self.recognition.turn_ended(asr_pb2.TurnEnded(turn_id=turn_id, attempt=attempt, through_sample=through))


def test_audio_that_arrives_before_a_server_is_kept_and_sent_when_one_is_there() -> None:
    case = Case()
    case.recognition.enter()
    case.audio(300)
    server = case.pools.serve()
    assert len(server.audio_bytes) == ms_to_samples(300) * 2
    assert server.request.config.keyterms == ["Kowalczyk"]


def test_silence_ends_the_turn_where_the_server_stood() -> None:
    case = Case()
    server = case.begin()
    case.audio(2000)
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=600))
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=1100, speech=0, silence_ms=600))
    assert server.ends == [(0, ms_to_samples(1100))]
    case.end(server, word("mill", 100, 500, final=True))
    assert case.turns[-1].end_of_turn
    assert case.turns[-1].transcript == "mill"
    assert sum(turn.end_of_turn for turn in case.turns) == 1


def test_a_forced_end_waits_for_the_end_that_is_under_way() -> None:
    case = Case()
    server = case.begin()
    case.audio(2000)
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=1100, speech=0, silence_ms=600))
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=1200, speech=0, silence_ms=700))
    first = server.ends[0][1]
    case.audio(500)
    case.recognition.end_turn()
    assert len(server.ends) == 1
    case.end(server, word("mill", 100, 500, final=True))
    assert server.ends == [(0, first)]
    case.heard(2500)
    assert server.ends == [(0, first), (1, ms_to_samples(2500))]
    case.end(server, word("five", 2000, 2300, final=True))
    assert [turn.transcript for turn in case.turns if turn.end_of_turn] == ["mill", "five"]
    assert [turn.turn_order for turn in case.turns if turn.end_of_turn] == [0, 1]
    assert case.caught_up_times == 1
    assert case.recognition.idle


def test_a_lost_servers_final_words_stand_and_the_rest_is_replayed_with_context() -> None:
    case = Case()
    first = case.begin()
    case.audio(2000)
    case.recognition.hypothesis(
        hypothesis([word("turn", 1000, 1200, final=True), word("lef", 1300, 1400)], through_ms=1500, stable_ms=1200)
    )
    case.recognition.lost("killed")
    second = case.pools.serve()
    assert second.request.attempt == first.request.attempt + 1
    assert second.request.turn_start_sample == ms_to_samples(1100)
    assert second.request.first_sample == ms_to_samples(900)
    assert second.position == ms_to_samples(2000)
    case.recognition.hypothesis(
        hypothesis([word("left", 1300, 1500, final=True)], attempt=1, through_ms=2000, stable_ms=1500)
    )
    assert case.turns[-1].transcript == "turn left"


def test_late_news_of_a_lost_server_is_ignored() -> None:
    case = Case()
    case.begin()
    case.audio(2000)
    case.recognition.lost("killed")
    case.pools.serve()
    case.recognition.hypothesis(hypothesis([word("ghost", 0, 100, final=True)], attempt=0, through_ms=500))
    assert case.turns == []


def test_an_end_under_way_when_the_server_dies_is_told_to_the_next_one() -> None:
    case = Case()
    case.begin()
    case.audio(1050)
    case.recognition.end_turn()
    case.recognition.lost("killed")
    second = case.pools.serve()
    case.heard(1000, attempt=1)
    assert second.ends == [(0, ms_to_samples(1050))]
    case.end(second, word("mill", 100, 500, final=True))
    assert case.turns[-1].transcript == "mill"


def test_a_server_that_breaks_the_contract_is_left_for_another() -> None:
    case = Case()
    first = case.begin()
    case.audio(1000)
    case.recognition.hypothesis(hypothesis([word("x", 0, 100)], words_before=7, through_ms=500))
    assert first.closed
    assert len(case.pools.waiting) == 1


def test_audio_of_finished_turns_leaves_the_memory() -> None:
    case = Case()
    server = case.begin()
    case.audio(10_000)
    case.recognition.end_turn()
    case.heard(10_000)
    case.end(server, word("mill", 100, 500, final=True))
    assert case.budget.used == ms_to_samples(200) * 2


def test_long_wordless_audio_leaves_the_memory_as_the_server_lets_go_of_it() -> None:
    case = Case()
    case.begin()
    case.audio(9_000)
    case.recognition.hypothesis(hypothesis(through_ms=9_000, stable_ms=8_500, speech=0, silence_ms=9_000))
    assert case.budget.used == ms_to_samples(500 + 200) * 2


def test_a_turn_without_any_pause_is_cut_at_the_longest_turn() -> None:
    case = Case(max_turn_seconds=1)
    server = case.begin()
    case.audio(2000)
    case.recognition.hypothesis(hypothesis([word("on", 0, 900)], through_ms=1000))
    assert server.ends == [(0, ms_to_samples(1000))]


def test_new_keyterms_reach_the_server_and_the_next_one() -> None:
    case = Case()
    server = case.begin()
    case.recognition.configure(SETTINGS, ("Novak",))
    assert server.configs[-1].keyterms == ["Novak"]
    case.recognition.lost("killed")
    assert case.pools.serve().request.config.keyterms == ["Novak"]


def test_leaving_gives_back_slot_queue_place_and_bytes() -> None:
    case = Case()
    server = case.begin()
    case.audio(1000)
    case.recognition.leave()
    assert server.closed
    assert case.budget.used == 0
    waiting = Case()
    waiting.recognition.enter()
    waiting.recognition.leave()
    assert waiting.pools.waiting == []


def test_turns_that_end_by_themselves_before_a_forced_end_still_do() -> None:
    case = Case()
    server = case.begin()
    case.audio(5000)
    case.recognition.end_turn()
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=600))
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500)], through_ms=1100, speech=0, silence_ms=600))
    case.recognition.hypothesis(
        hypothesis([word("mill", 100, 500), word("five", 3000, 3400)], through_ms=5000, silence_ms=1600)
    )
    assert server.ends == [(0, ms_to_samples(1100))]
    case.end(server, word("mill", 100, 500, final=True))
    # The server goes through the rest again for the next turn.
    case.recognition.hypothesis(hypothesis(turn_id=1, through_ms=2000))
    assert len(server.ends) == 1
    case.recognition.hypothesis(hypothesis([word("five", 3000, 3400)], turn_id=1, through_ms=5000))
    case.end(server, word("five", 3000, 3400, final=True))
    assert [turn.transcript for turn in case.turns if turn.end_of_turn] == ["mill", "five"]
    assert case.caught_up_times == 1


def test_what_a_server_let_go_of_is_not_asked_for_again_when_words_begin() -> None:
    case = Case()
    case.begin()
    case.audio(9_000)
    case.recognition.hypothesis(hypothesis(through_ms=8_000, stable_ms=7_500, speech=0, silence_ms=8_000))
    case.recognition.hypothesis(hypothesis([word("mill", 8_100, 8_400)], through_ms=8_500, stable_ms=7_500))
    case.recognition.lost("killed")
    request = case.pools.serve().request
    assert request.turn_start_sample == ms_to_samples(7_500)
    assert request.first_sample == ms_to_samples(7_300)


def test_final_words_behind_the_end_of_a_turn_wait_for_the_next_one() -> None:
    case = Case()
    server = case.begin()
    case.audio(5000)
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500, final=True)], through_ms=600))
    case.recognition.hypothesis(hypothesis(words_before=1, through_ms=1100, speech=0, silence_ms=600))
    # On their way while the end was told.
    case.recognition.hypothesis(hypothesis([word("five", 2000, 2300, final=True)], words_before=1, through_ms=2500))
    case.recognition.hypothesis(hypothesis([word("six", 2400, 2600)], words_before=2, through_ms=2700))
    case.end(server, words_before=1)
    case.recognition.hypothesis(hypothesis([word("five", 2000, 2300, final=True)], turn_id=1, through_ms=2500))
    assert [turn.transcript for turn in case.turns if turn.end_of_turn] == ["mill"]
    assert case.turns[-1].transcript == "five"
    assert case.turns[-1].turn_order == 1


def test_audio_that_no_server_survives_ends_its_session() -> None:
    case = Case()
    case.recognition.enter()
    case.audio(5000)
    for attempt in range(6):
        assert case.given_up_times == 0
        case.pools.serve()
        case.recognition.hypothesis(hypothesis(attempt=attempt, through_ms=2000))
        case.recognition.lost("worker died")
    assert case.given_up_times == 1
    assert case.pools.waiting == []


def test_servers_that_die_at_different_places_are_replaced_for_ever() -> None:
    case = Case()
    case.recognition.enter()
    case.audio(5000)
    for attempt in range(20):
        case.pools.serve()
        case.recognition.hypothesis(hypothesis(attempt=attempt, through_ms=200 * (attempt + 1)))
        case.recognition.lost("pod died")
    assert case.given_up_times == 0


def test_what_a_server_settled_behind_the_end_of_a_turn_is_still_replayed() -> None:
    case = Case()
    server = case.begin()
    case.audio(5000)
    case.recognition.hypothesis(hypothesis([word("mill", 100, 500, final=True)], through_ms=600, stable_ms=500))
    case.recognition.hypothesis(hypothesis(words_before=1, through_ms=1100, stable_ms=1100, speech=0, silence_ms=600))
    case.recognition.hypothesis(
        hypothesis([word("five", 2000, 2300, final=True)], words_before=1, through_ms=4900, stable_ms=4900, speech=0)
    )
    case.end(server, words_before=1)
    case.recognition.lost("killed")
    request = case.pools.serve().request
    assert request.turn_start_sample == ms_to_samples(1100)
    assert request.first_sample == ms_to_samples(900)
