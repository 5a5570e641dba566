from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron.worker.scheduler import Batch, Scheduler

WAIT = 5.0


def scheduler(*lanes: int, largest: int = 4) -> Scheduler:
    """One with as many members as ``lanes`` says: lookahead by lookahead."""
    made = Scheduler(max_wait_ms=WAIT, largest=largest)
    for lookahead in lanes:
        made.join(lookahead)
    return made


def test_nobody_waits_when_nobody_is_ready() -> None:
    made = scheduler(6, 6)
    assert made.due_ms() is None
    assert made.take(1e9) is None


def test_one_session_alone_steps_at_once() -> None:
    made = scheduler(6)
    made.add(6, 1, 100.0)
    assert made.due_ms() == 100.0
    assert made.take(100.0) == Batch(6, (1,))
    assert made.due_ms() is None


def test_a_ready_session_waits_for_others_of_its_lane_and_no_longer_than_it_may() -> None:
    made = scheduler(6, 6, 6)
    made.add(6, 1, 100.0)
    made.add(6, 2, 103.0)
    assert made.due_ms() == 105.0
    assert made.take(104.9) is None
    assert made.take(105.0) == Batch(6, (1, 2))


def test_a_lane_steps_at_once_when_all_its_sessions_are_ready_or_the_largest_batch_is_full() -> None:
    made = scheduler(6, 6)
    made.add(6, 1, 100.0)
    made.add(6, 2, 101.0)
    assert made.take(101.0) == Batch(6, (1, 2))
    made = scheduler(*[6] * 9, largest=4)
    for session in range(6):
        made.add(6, session, 100.0)
    assert made.take(100.0) == Batch(6, (0, 1, 2, 3))
    assert made.take(100.0) is None
    assert made.take(105.0) == Batch(6, (4, 5))


def test_the_lane_that_has_waited_longest_goes_first() -> None:
    made = scheduler(0, 6)
    made.add(6, 1, 100.0)
    made.add(0, 2, 101.0)
    assert [made.take(200.0), made.take(200.0)] == [Batch(6, (1,)), Batch(0, (2,))]


def test_a_session_that_leaves_waits_no_more_and_is_waited_for_no_more() -> None:
    made = scheduler(6, 6, 6)
    made.add(6, 1, 100.0)
    made.add(6, 2, 100.0)
    made.leave(6, 2)
    made.leave(6, 3)
    assert made.take(100.0) == Batch(6, (1,))


def test_a_session_that_is_ready_twice_keeps_its_place() -> None:
    made = scheduler(6, 6, 6)
    made.add(6, 1, 100.0)
    made.add(6, 2, 101.0)
    made.add(6, 1, 104.0)
    assert made.take(105.0) == Batch(6, (1, 2))


@given(
    st.lists(st.tuples(st.integers(0, 11), st.floats(0, 20)), max_size=60),
    st.integers(1, 5),
    st.floats(1, 40),
)
def test_every_session_is_stepped_once_for_each_time_it_was_ready_and_in_turn(
    arrivals: list[tuple[int, float]], largest: int, step_ms: float
) -> None:
    """Whatever comes, and however long steps take, nobody is passed over within a lane."""
    made = Scheduler(max_wait_ms=WAIT, largest=largest)
    lane_of = {session: session % 3 for session in range(12)}
    for lane in lane_of.values():
        made.join(lane)
    now, came, stepped = 0.0, Counter[int](), Counter[int]()
    waiting: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def run() -> None:
        nonlocal now
        batch = made.take(now)
        if batch is not None:
            expected = waiting[batch.lookahead][: len(batch.sessions)]
            assert list(batch.sessions) == expected
            assert 0 < len(batch.sessions) <= largest
            del waiting[batch.lookahead][: len(batch.sessions)]
            stepped.update(batch.sessions)
            now += step_ms

    for session, later in arrivals:
        now += later
        lane = lane_of[session]
        if session not in waiting[lane]:
            came[session] += 1
            waiting[lane].append(session)
        made.add(lane, session, now)
        run()
    while (due := made.due_ms()) is not None:
        now = max(now, due)
        run()
    assert stepped == came


@pytest.mark.parametrize("busy", [0, 6])
def test_a_lane_whose_sessions_are_always_ready_starves_no_other(busy: int) -> None:
    quiet = 6 - busy
    made = scheduler(*[busy] * 8, quiet, largest=4)
    for session in range(8):
        made.add(busy, session, 0.0)
    made.add(quiet, 99, 0.0)
    now, steps = 0.0, 0
    while True:
        batch = made.take(now)
        assert batch is not None
        if batch.lookahead == quiet:
            break
        steps += 1
        now += 20.0
        for session in batch.sessions:  # at once ready again, as a session with a backlog is
            made.add(busy, session, now)
    assert steps <= 2
