"""When which key is due: no pass is lost, none runs beside another of its key, none runs hot."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamstack_operator.schedule import (
    FIRST_RETRY_SECONDS,
    GAP_SECONDS,
    HURRIED_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    NEVER,
    Schedule,
)


def started(schedule: Schedule[str], *, now: float) -> list[str]:
    found = []
    while (key := schedule.start(now=now)) is not None:
        found.append(key)
    return found


def test_a_key_that_is_asked_for_many_times_is_looked_at_once():
    schedule = Schedule[str]()
    for _ in range(5):
        schedule.wake("a", now=1.0)
    assert started(schedule, now=1.0) == ["a"]


def test_nothing_is_due_before_anything_was_asked_for():
    schedule = Schedule[str]()
    assert schedule.start(now=1e9) is None
    assert schedule.next_due() == NEVER
    assert schedule.late(now=1e9) is None


def test_what_has_waited_longest_comes_first():
    schedule = Schedule[str]()
    for number, key in enumerate("cab"):
        schedule.wake(key, now=float(number))
    assert started(schedule, now=5.0) == ["c", "a", "b"]


def test_what_happens_during_a_pass_makes_one_more_pass_after_it():
    schedule = Schedule[str]()
    schedule.wake("a", now=0.0)
    assert schedule.start(now=0.0) == "a"
    schedule.wake("a", now=0.1)
    schedule.wake("a", now=0.2)
    assert schedule.start(now=10.0) is None
    schedule.finish("a", now=1.0, again_seconds=math.inf)
    assert schedule.next_due() == 1.0 + GAP_SECONDS
    assert schedule.start(now=2.0) == "a"
    schedule.finish("a", now=2.0, again_seconds=math.inf)
    assert schedule.next_due() == NEVER


def test_a_key_is_due_again_when_its_pass_said_so():
    schedule = Schedule[str]()
    schedule.wake("a", now=0.0)
    schedule.start(now=0.0)
    schedule.finish("a", now=1.0, again_seconds=30.0)
    assert schedule.next_due() == 31.0
    schedule.wake("a", now=5.0)
    assert schedule.next_due() == 5.0


def test_failures_in_a_row_make_longer_and_longer_waits_up_to_a_bound():
    schedule, now, delays = Schedule[str](), 0.0, []
    schedule.wake("a", now=now)
    for _ in range(40):
        now = max(now, schedule.next_due())
        assert schedule.start(now=now) == "a"
        delays.append(schedule.fail("a", now=now))
    assert delays[0] == FIRST_RETRY_SECONDS
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_RETRY_SECONDS


def test_a_pass_that_ends_well_ends_the_row():
    schedule = Schedule[str]()
    schedule.wake("a", now=0.0)
    schedule.start(now=0.0)
    schedule.fail("a", now=0.0)
    schedule.start(now=10.0)
    schedule.finish("a", now=10.0, again_seconds=1.0)
    assert schedule.failures("a") == 0
    schedule.start(now=20.0)
    assert schedule.fail("a", now=20.0) == FIRST_RETRY_SECONDS


def test_what_happens_while_a_key_fails_hurries_it_without_making_it_hot():
    schedule, now = Schedule[str](), 0.0
    schedule.wake("a", now=now)
    for _ in range(10):
        now = max(now, schedule.next_due())
        schedule.start(now=now)
        schedule.wake("a", now=now)  # as its own writes do
        schedule.fail("a", now=now)
    assert schedule.next_due() == now + HURRIED_RETRY_SECONDS


def test_a_pass_that_is_broken_off_is_due_at_once():
    schedule = Schedule[str]()
    schedule.wake("a", now=0.0)
    schedule.start(now=0.0)
    schedule.abandon("a", now=1.0)
    assert schedule.start(now=1.0) == "a"


def test_the_longest_wait_is_told_be_it_for_a_worker_or_for_a_pass_to_end():
    schedule = Schedule[str]()
    schedule.wake("a", now=0.0)
    schedule.wake("b", now=3.0)
    schedule.start(now=5.0)
    assert schedule.late(now=10.0) == ("b", 7.0)
    assert schedule.depth(now=10.0) == 1
    schedule.start(now=10.0)
    assert schedule.late(now=10.0) == ("a", 5.0)
    assert schedule.depth(now=10.0) == 0


class Scheduling(RuleBasedStateMachine):
    """Any order of reasons, beginnings and ends of passes, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule[str]()
        self.now = 0.0
        self.running: set[str] = set()
        self.owed: set[str] = set()
        """Keys for which something happened that no pass which has begun since could have seen."""

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.sampled_from("abc"))
    def something_happens(self, key: str) -> None:
        self.schedule.wake(key, now=self.now)
        self.owed.add(key)

    @rule()
    def a_worker_is_free(self) -> None:
        key = self.schedule.start(now=self.now)
        if key is None:
            assert self.schedule.next_due() > self.now
            return
        assert key not in self.running
        self.running.add(key)
        self.owed.discard(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), again=st.sampled_from([0.0, 1.0, 30.0, math.inf]))
    def a_pass_ends_well(self, data: st.DataObject, again: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.schedule.finish(key, now=self.now, again_seconds=again)
        self.running.remove(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_pass_fails(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        assert FIRST_RETRY_SECONDS <= self.schedule.fail(key, now=self.now) <= LONGEST_RETRY_SECONDS
        self.running.remove(key)
        self.owed.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_pass_is_broken_off(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.schedule.abandon(key, now=self.now)
        self.running.remove(key)
        self.owed.add(key)

    @invariant()
    def what_is_owed_comes_due(self) -> None:
        if self.owed - self.running:
            assert self.schedule.next_due() <= self.now + LONGEST_RETRY_SECONDS

    def teardown(self) -> None:
        for key in sorted(self.running):
            self.schedule.finish(key, now=self.now, again_seconds=math.inf)
        later = self.now + LONGEST_RETRY_SECONDS
        assert self.owed <= set(started(self.schedule, now=later))


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
