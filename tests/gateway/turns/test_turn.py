from dataclasses import replace

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.dialects.events import TurnSettings
from streamstack_gateway.turns.detector import Decision
from streamstack_gateway.turns.turn import OpenTurn
from support.hypotheses import hypothesis, word

SETTINGS = TurnSettings(
    end_of_turn_confidence_threshold=1.0,
    min_turn_silence_ms=400,
    max_turn_silence_ms=1280,
    vad_threshold=0.4,
    format_turns=False,
    include_partial_turns=True,
)


def open_turn(settings: TurnSettings = SETTINGS) -> OpenTurn:
    return OpenTurn(settings, language_detection=True)


def test_the_worked_example_of_the_us_models() -> None:
    turn = open_turn()
    turn.hypothesis(hypothesis([word("turn", 1040, 1200)], through_ms=1300), cut=None)
    first = turn.partial(pause=False)
    assert (first.transcript, first.words[0].text, first.words[0].is_final) == ("", "turn", False)
    turn.hypothesis(
        hypothesis([word("turn", 1040, 1200, final=True), word("lef", 1280, 1360)], through_ms=1400), cut=None
    )
    assert turn.partial(pause=False).transcript == "turn"
    _, decision = turn.hypothesis(
        hypothesis([word("left", 1280, 1400)], words_before=1, through_ms=1900, speech=0.0, silence_ms=500), cut=None
    )
    assert decision is Decision.PAUSE
    assert turn.partial(pause=True).utterance == "turn left"
    final = turn.complete(asr_pb2.Final(words_before=1, words=[word("left", 1280, 1400, final=True)]))
    assert final is not None
    assert (final.transcript, final.utterance, final.end_of_turn) == ("turn left", "", True)


def test_a_turn_without_a_pause_carries_its_utterance_on_the_final() -> None:
    final = open_turn().complete(asr_pb2.Final(words=[word("five", 0, 300, final=True)]))
    assert final is not None
    assert final.utterance == "five"


def test_turn_order_counts_only_turns_with_words() -> None:
    turn = open_turn()
    assert turn.complete(asr_pb2.Final()) is None
    turn.next(16_000)
    assert turn.order == 0
    turn.complete(asr_pb2.Final(words=[word("five", 0, 300, final=True)]))
    turn.next(32_000)
    assert turn.order == 1


def test_words_behind_the_cut_belong_to_the_next_turn() -> None:
    turn = open_turn()
    message = hypothesis([word("one", 0, 300, final=True), word("two", 900, 1200, final=True)], through_ms=1300)
    turn.hypothesis(message, cut=8_000)
    assert [shown.text for shown in turn.partial(pause=False).words] == ["one"]


def test_formatting_writes_a_sentence_and_marks_every_turn_of_the_session() -> None:
    turn = open_turn(replace(SETTINGS, format_turns=True))
    turn.hypothesis(hypothesis([word("i", 0, 100), word("left", 150, 300)], through_ms=400), cut=None)
    assert turn.partial(pause=False).is_formatted
    final = turn.complete(asr_pb2.Final(words=[word("i", 0, 100, final=True), word("left", 150, 300, final=True)]))
    assert final is not None
    assert final.transcript == "I left."
    assert final.words[-1].text == "left."
    assert final.is_formatted


def test_a_models_own_punctuation_is_left_alone() -> None:
    turn = open_turn(replace(SETTINGS, format_turns=True))
    final = turn.complete(asr_pb2.Final(words=[word("Why?", 0, 100, final=True)]))
    assert final is not None
    assert final.transcript == "Why?"


def test_a_detected_language_is_told_on_the_final_alone() -> None:
    turn = open_turn()
    message = hypothesis([word("oui", 0, 100)], through_ms=200)
    message.language, message.language_confidence = "fr", 0.9
    turn.hypothesis(message, cut=None)
    assert turn.partial(pause=False).language_code is None
    final = turn.complete(asr_pb2.Final(words=[word("oui", 0, 100, final=True)]))
    assert final is not None
    assert (final.language_code, final.language_confidence) == ("fr", 0.9)
