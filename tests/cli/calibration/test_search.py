"""Which counts of sessions are measured, and which is the answer."""

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli.calibration.search import Search


def run(search: Search, meets: Callable[[int], bool]) -> list[int]:
    """Measure until the search is over; every count that was measured, in order."""
    measured: list[int] = []
    while search.level is not None:
        measured.append(search.level)
        search.record(met=meets(search.level))
    return measured


def test_it_doubles_until_a_count_fails_and_looks_between() -> None:
    search = Search(ceiling=1000, resolution=0.01)
    assert run(search, lambda count: count <= 11) == [1, 2, 4, 8, 16, 16, 12, 12, 10, 11, 11]
    assert (search.capacity, search.is_at_ceiling) == (11, False)


def test_a_hiccup_is_looked_at_twice_and_forgiven() -> None:
    seen: set[int] = set()

    def meets_but_once(count: int) -> bool:
        first = count not in seen
        seen.add(count)
        return count <= 6 and not (count == 4 and first)

    search = Search(ceiling=100)
    assert run(search, meets_but_once)[:4] == [1, 2, 4, 4]
    assert search.capacity == 6


def test_a_count_that_was_lucky_does_not_become_the_answer() -> None:
    answers = {8: [True, False, False]}

    def meets(count: int) -> bool:
        return answers[count].pop(0) if answers.get(count) else count < 7

    search = Search(ceiling=8)
    assert run(search, meets) == [1, 2, 4, 8, 8, 8, 6, 7, 7, 6]
    assert (search.capacity, search.is_at_ceiling) == (6, False)


def test_when_everything_is_met_the_ceiling_is_the_answer_and_says_so() -> None:
    search = Search(ceiling=100, start=30)
    assert run(search, lambda _count: True) == [30, 60, 100, 100]
    assert (search.capacity, search.is_at_ceiling) == (100, True)


@pytest.mark.parametrize("start", [1, 8, 64])
def test_when_nothing_is_met_the_answer_is_none_at_all(start: int) -> None:
    search = Search(ceiling=100, start=start)
    assert run(search, lambda _count: False)[-1] == 1
    assert (search.capacity, search.is_at_ceiling) == (0, False)


def test_a_first_count_that_is_too_much_is_come_down_from() -> None:
    search = Search(ceiling=100, start=64)
    run(search, lambda count: count <= 5)
    assert search.capacity == 5


def test_a_search_that_is_over_takes_no_measurement() -> None:
    search = Search(ceiling=1)
    run(search, lambda _count: True)
    with pytest.raises(ValueError, match="the search is over"):
        search.record(met=True)


@given(
    limit=st.integers(0, 5000),
    ceiling=st.integers(1, 5000),
    start=st.integers(1, 5000),
    resolution=st.floats(0.005, 0.5),
)
def test_the_answer_is_as_exact_as_asked_for(limit: int, ceiling: int, start: int, resolution: float) -> None:
    search = Search(ceiling=ceiling, start=start, resolution=resolution)
    measured = run(search, lambda count: count <= limit)
    best = min(limit, ceiling)
    assert search.capacity <= best <= search.capacity + max(1, search.capacity * resolution)
    assert search.is_at_ceiling == (search.capacity == ceiling)
    assert all(1 <= count <= ceiling for count in measured)
    # Doubling, then halving, each count twice at most: the logarithm of the ceiling, twice over.
    assert len(measured) <= 4 * ceiling.bit_length() + 4


@given(ceiling=st.integers(1, 60), luck=st.randoms(use_true_random=False))
def test_whatever_the_machine_does_the_answer_was_met_twice_and_nothing_at_or_below_it_failed_twice_running(
    ceiling: int, luck: random.Random
) -> None:
    search = Search(ceiling=ceiling)
    measured: list[tuple[int, bool]] = []
    while (level := search.level) is not None:
        met = luck.random() < 0.6
        measured.append((level, met))
        search.record(met=met)
        assert len(measured) < 4000
    answer = search.capacity
    if answer:
        assert measured.count((answer, True)) >= 2
    running = itertools.pairwise(measured)
    assert not any(first == second == (count, False) for first, second in running for count in range(1, answer + 1))
