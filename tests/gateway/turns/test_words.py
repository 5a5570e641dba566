from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.turns.words import ContractError, TurnWords
from support.hypotheses import word


def texts(words: TurnWords) -> list[str]:
    return [shown.text for shown in (*words.finals, *words.tentative)]


def test_final_words_are_sent_once_and_stand() -> None:
    words = TurnWords()
    words.update(0, [word("turn", 0, 100, final=True), word("lef", 150, 200)])
    words.update(1, [word("left", 150, 260, final=True), word("at", 300, 340)])
    assert texts(words) == ["turn", "left", "at"]
    assert [shown.is_final for shown in (*words.finals, *words.tentative)] == [True, True, False]


def test_the_same_words_again_are_no_change() -> None:
    words = TurnWords()
    assert words.update(0, [word("turn", 0, 100)])
    assert not words.update(0, [word("turn", 0, 100)])


def test_a_final_word_that_is_repeated_is_not_shown_twice() -> None:
    words = TurnWords()
    words.update(0, [word("turn", 0, 100, final=True)])
    words.update(0, [word("turn", 0, 100, final=True), word("left", 150, 260, final=True)])
    assert texts(words) == ["turn", "left"]


def test_words_that_count_on_finals_never_sent_break_the_contract() -> None:
    with pytest.raises(ContractError, match="words from 2 on, but only 0 were final before"):
        TurnWords().update(2, [word("at", 300, 340)])


def test_another_server_counts_its_words_from_the_cut_on() -> None:
    words = TurnWords()
    words.update(0, [word("turn", 0, 100, final=True), word("left", 150, 260, final=True), word("a", 300, 320)])
    assert words.resume_sample == (150 + 260) // 2 * 16
    words.resume()
    assert texts(words) == ["turn", "left"]
    words.update(0, [word("at", 300, 340, final=True)])
    assert texts(words) == ["turn", "left", "at"]


def test_a_turn_that_no_server_completes_ends_with_the_words_shown() -> None:
    words = TurnWords()
    words.update(0, [word("turn", 0, 100, final=True), word("lef", 150, 200)])
    words.settle()
    assert [shown.text for shown in words.finals] == ["turn", "lef"]
    assert all(shown.is_final for shown in words.finals)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.booleans()), max_size=30))
def test_shown_times_never_go_backwards_whatever_a_server_says(spans: list[tuple[int, int, bool]]) -> None:
    words = TurnWords()
    sent = 0
    for start, length, final in spans:
        before = list(words.finals)
        words.update(sent, [word("x", start, start + length, final=final)])
        sent = len(words.finals)
        assert words.finals[: len(before)] == before
    shown = [*words.finals, *words.tentative]
    for earlier, later in pairwise(shown):
        assert earlier.start_ms < earlier.end_ms <= later.start_ms < later.end_ms
