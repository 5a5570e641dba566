import random

from hypothesis import given
from hypothesis import strategies as st

from tiny_model.texts import COMMON, CORE, WITHHELD, known_text, nobody_said, text

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_a_withheld_word_is_never_said_in_training(seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311
    assert not {*WITHHELD} & {*" ".join(text(random_) for _ in range(20)).split()}
    assert nobody_said(random_) not in WITHHELD


@given(SEEDS)
def test_what_is_said_to_the_known_words_is_known(seed: int) -> None:
    assert {*known_text(random.Random(seed)).split()} <= {*CORE}  # noqa: S311


def test_every_word_is_spelled_with_letters_alone() -> None:
    assert all(word.isascii() and word.isalpha() and word.islower() for word in (*CORE, *COMMON, *WITHHELD))
