from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import Word
from streamstack_asr.engines.sphinx.stabiliser import Guess, Stabiliser

STEP = 1_600


@st.composite
def hypotheses(draw: st.DrawFn) -> list[Guess]:
    """Words as a decoder gives them: in order, not overlapping, with gaps or without."""
    guesses, position = [], 0
    for _ in range(draw(st.integers(0, 12))):
        start = position + draw(st.sampled_from([0, 0, 800, 5_000]))
        position = start + draw(st.integers(160, 9_600))
        guesses.append(Guess(draw(st.sampled_from(["a", "b", "very"])), start, position, 0.5))
    return guesses


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, list[Guess]]]:
    """Successive hypotheses: the same words growing for some steps, then others."""
    run, through = [], 0
    for _ in range(draw(st.integers(1, 5))):
        words = draw(hypotheses())
        for _ in range(draw(st.integers(1, 12))):
            through += STEP * draw(st.integers(1, 4))
            run.append((through, [guess for guess in words if guess.end_sample <= through]))
    return run


def final_words(stabiliser: Stabiliser, run: list[tuple[int, list[Guess]]]) -> list[Word]:
    finals: list[Word] = []
    for through, guesses in run:
        reading = stabiliser.read(guesses, through)
        assert reading.words_before == len(finals)
        sent = [word.is_final for word in reading.words]
        assert sent == sorted(sent, reverse=True)
        ordered([*finals, *reading.words])
        finals += (word for word in reading.words if word.is_final)
    return finals


def ordered(words: list[Word]) -> None:
    assert all(word.start_sample < word.end_sample for word in words)
    assert all(one.end_sample <= other.start_sample for one, other in pairwise(words))


@given(runs(), hypotheses())
def test_each_final_word_is_sent_once_and_never_changes(run: list[tuple[int, list[Guess]]], last: list[Guess]) -> None:
    stabiliser = Stabiliser(0)
    finals = final_words(stabiliser, run)
    end = max([run[-1][0], *(guess.end_sample for guess in last)]) + 16_000
    reading = stabiliser.finish(last, end)
    assert reading.words_before == len(finals)
    assert stabiliser.finals[: len(finals)] == finals
    assert stabiliser.finals[len(finals) :] == list(reading.words)
    ordered(stabiliser.finals)


@given(runs(), hypotheses())
def test_no_word_that_begins_behind_the_finals_is_lost(run: list[tuple[int, list[Guess]]], last: list[Guess]) -> None:
    stabiliser = Stabiliser(0)
    final_words(stabiliser, run)
    cut = stabiliser.cut
    reading = stabiliser.finish(last, 10**9)
    behind = [guess.text for guess in last if guess.start_sample >= cut]
    texts = [word.text for word in reading.words]
    assert texts[len(texts) - len(behind) :] == behind
    assert len(texts) - len(behind) <= 1


@given(hypotheses())
def test_a_hypothesis_that_stands_is_neither_doubled_nor_cut(words: list[Guess]) -> None:
    stabiliser = Stabiliser(0)
    end = words[-1].end_sample if words else 0
    final_words(stabiliser, [(through, words) for through in range(end, end + 32_000, STEP)])
    reading = stabiliser.finish(words, end + 32_000)
    assert reading.words == ()
    assert [word.text for word in stabiliser.finals] == [guess.text for guess in words]


@given(runs(), st.integers(0, 60_000))
def test_the_end_of_a_turn_keeps_what_begins_before_it(run: list[tuple[int, list[Guess]]], through: int) -> None:
    stabiliser = Stabiliser(0)
    finals = final_words(stabiliser, run)
    reading = stabiliser.finish(run[-1][1], through)
    kept = [word for word in finals if word.start_sample < through]
    assert stabiliser.finals[: len(kept)] == kept
    assert reading.words_before == len(kept)
    assert all(word.start_sample < through for word in stabiliser.finals)


def test_the_last_words_are_held_back() -> None:
    words = [Guess("seven", 0, 8_000, 0.9), Guess("of", 8_000, 10_000, 0.9), Guess("clubs", 10_000, 16_000, 0.9)]
    stabiliser = Stabiliser(0)
    for _ in range(5):
        reading = stabiliser.read(words, 18_000)
    assert [word.text for word in stabiliser.finals] == ["seven"]
    assert [word.is_final for word in reading.words] == [False, False]


def test_a_word_said_twice_is_kept_twice_when_the_first_is_final() -> None:
    stabiliser = Stabiliser(0)
    twice = [Guess("very", 0, 4_800, 0.9), Guess("very", 4_800, 9_600, 0.9)]
    for through in range(16_000, 19_000, 1_000):
        stabiliser.read(twice, through)
    assert len(stabiliser.finals) == 1
    moved = [Guess("very", 0, 4_480, 0.9), Guess("very", 4_480, 9_600, 0.9)]
    reading = stabiliser.finish(moved, 40_000)
    assert [(word.text, word.start_sample) for word in reading.words] == [("very", 4_800)]


def test_a_word_that_a_later_hypothesis_stretches_is_not_repeated() -> None:
    stabiliser = Stabiliser(0)
    for _ in range(3):
        stabiliser.read([Guess("not", 0, 4_000, 0.9)], 30_000)
    assert stabiliser.cut == 4_000
    assert stabiliser.finish([Guess("not", 0, 9_000, 0.9)], 40_000).words == ()
