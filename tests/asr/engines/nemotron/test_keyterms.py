"""Key terms become a tree that a decoder can walk."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron import keyterms

terms = st.lists(st.lists(st.integers(0, 6), max_size=6).map(tuple), max_size=20)


def edges(tree: keyterms.KeytermTree) -> dict[tuple[int, int], int]:
    return {
        (source, token): target for source, token, target in zip(tree.sources, tree.tokens, tree.targets, strict=True)
    }


def walked(tree: keyterms.KeytermTree, said: Sequence[int]) -> int:
    """The state after ``said``, as the decoder goes: on in a term, else at the start of another, else outside."""
    known, state = edges(tree), 0
    for token in said:
        state = known.get((state, token)) or known.get((0, token), 0)
    return state


@given(terms)
def test_every_term_is_followed_from_its_first_token_to_its_last(wanted: list[tuple[int, ...]]) -> None:
    tree = keyterms.build(wanted)
    known = edges(tree)
    for term in wanted:
        state = 0
        for token in term:
            state = known[state, token]
        assert (state == 0) == (term == ())


@given(wanted=terms, said=st.lists(st.integers(0, 6), max_size=8))
def test_a_term_is_followed_whatever_was_said_before_it(wanted: list[tuple[int, ...]], said: list[int]) -> None:
    tree = keyterms.build(wanted)
    beginnings = {term[:length] for term in wanted for length in range(1, len(term) + 1)}
    longest = max((n for n in range(len(said) + 1) if n == 0 or tuple(said[len(said) - n :]) in beginnings), default=0)
    assert walked(tree, said) == walked(tree, said[len(said) - longest :])


@given(terms)
def test_no_edge_is_there_twice_and_none_is_worth_too_much(wanted: list[tuple[int, ...]]) -> None:
    tree = keyterms.build(wanted)
    assert len(edges(tree)) == len(tree.tokens)
    assert all(0 < bonus <= keyterms.LARGEST_BONUS for bonus in tree.bonuses)


def test_no_terms_are_no_tree() -> None:
    assert not keyterms.build([])
    assert not keyterms.build([()])


def test_too_many_terms_are_refused_by_their_number() -> None:
    most = keyterms.MAX_TERMS
    with pytest.raises(keyterms.KeytermError, match=f"{most + 1} .*: expected at most {most}"):
        keyterms.build([(number,) for number in range(most + 1)])


def test_too_many_tokens_are_refused_by_their_number() -> None:
    long = [tuple(range(number * 20, number * 20 + 20)) for number in range(60)]
    with pytest.raises(keyterms.KeytermError, match="of 1200 tokens in all: expected at most 1024"):
        keyterms.build(long)
