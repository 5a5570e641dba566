import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamstack_asr.engines.base import EngineCondition
from streamstack_asr.server.slots import (
    FULL,
    NOT_ACCEPTING,
    UNKNOWN_MODEL,
    Lease,
    NoSlotError,
    Slots,
)
from streamstack_common.contracts import asr_pb2
from streamstack_common.retirement import Admission, StaleGenerationError


def warm(total: int = 2) -> Slots:
    slots = Slots(total=total, models=("a", "b"))
    slots.warm()
    return slots


def refusal(slots: Slots, model: str = "a") -> asr_pb2.Refused.Reason:
    with pytest.raises(NoSlotError) as error:
        slots.take(model)
    return error.value.reason


def test_nothing_is_accepted_before_the_server_is_warm() -> None:
    slots = Slots(total=2, models=("a",))
    assert not slots.accepting
    assert refusal(slots) == NOT_ACCEPTING


@pytest.mark.parametrize("condition", [EngineCondition.OVERLOADED, EngineCondition.DOWN])
def test_nothing_is_accepted_while_the_engine_is_not_well(condition: EngineCondition) -> None:
    slots = warm()
    lease = slots.take("a")
    heard: list[bool] = []
    slots.subscribe(lambda: heard.append(slots.accepting))
    slots.engine_changed(condition)
    with pytest.raises(NoSlotError, match=f"the engine {condition.value}"):
        slots.take("a")
    assert (slots.in_use, slots.free) == (1, 1)
    slots.engine_changed(EngineCondition.WELL)
    slots.release(lease)
    assert heard == [False, True, True]


def test_a_full_server_refuses_and_counts_it_for_the_model() -> None:
    slots = warm(1)
    slots.take("a")
    assert refusal(slots, "b") == FULL
    assert (slots.pools["a"].refused_total, slots.pools["b"].refused_total) == (0, 1)


def test_an_unknown_model_is_named_with_those_that_are_served() -> None:
    slots = warm()
    with pytest.raises(NoSlotError, match="'c' is not served here: expected a, b") as error:
        slots.take("c")
    assert error.value.reason == UNKNOWN_MODEL


def test_a_retired_server_counts_no_refusal_because_no_slot_was_wanting() -> None:
    slots = warm()
    slots.retirement.retire(1)
    assert refusal(slots) == NOT_ACCEPTING
    assert slots.pools["a"].refused_total == 0


def test_a_retired_server_accepts_again_when_resumed() -> None:
    slots = warm()
    slots.retirement.retire(3)
    assert (slots.accepting, slots.admission) == (False, Admission.RETIRED)
    slots.retirement.resume(4)
    assert (slots.accepting, slots.admission) == (True, Admission.OPEN)


def test_a_server_that_is_not_warm_is_open_to_the_operator_but_accepts_nothing() -> None:
    slots = Slots(total=2, models=("a",))
    slots.retirement.resume(1)
    assert (slots.accepting, slots.admission) == (False, Admission.OPEN)


def test_a_stopping_server_cannot_be_resumed() -> None:
    slots = warm()
    slots.stop()
    slots.retirement.resume(1)
    assert (slots.accepting, slots.admission) == (False, Admission.RETIRED)
    with pytest.raises(NoSlotError, match="the server is stopping"):
        slots.take("a")


def test_the_oldest_session_is_the_one_taken_first_that_is_still_there() -> None:
    times = iter([10.0, 20.0])
    slots = Slots(total=2, models=("a",), clock=lambda: next(times))
    slots.warm()
    assert slots.oldest_started_at is None
    first = slots.take("a")
    slots.take("a")
    assert slots.oldest_started_at == 10.0
    slots.release(first)
    assert slots.oldest_started_at == 20.0


def test_every_change_is_told_until_the_listener_leaves() -> None:
    slots = warm()
    free: list[int] = []

    def listener() -> None:
        free.append(slots.free)

    slots.subscribe(listener)
    lease = slots.take("a")
    slots.release(lease)
    slots.admission_changed()
    slots.unsubscribe(listener)
    slots.stop()
    assert free == [1, 2, 2]


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(total=3, models=("a", "b"))
        self.slots.warm()
        self.leases: list[Lease] = []
        self.generation = 0
        self.retired = False

    @rule(model=st.sampled_from(["a", "b"]))
    def take(self, model: str) -> None:
        if self.retired or len(self.leases) == 3:
            assert refusal(self.slots, model) == (NOT_ACCEPTING if self.retired else FULL)
        else:
            self.leases.append(self.slots.take(model))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.slots.release(self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1))))

    @rule(generation=st.integers(0, 5), retire=st.booleans())
    def change(self, generation: int, retire: bool) -> None:
        act = self.slots.retirement.retire if retire else self.slots.retirement.resume
        if generation < self.generation:
            with pytest.raises(StaleGenerationError):
                act(generation)
        else:
            act(generation)
            self.generation, self.retired = generation, retire

    @invariant()
    def counts_agree(self) -> None:
        assert self.slots.in_use == len(self.leases) == sum(pool.in_use for pool in self.slots.pools.values())
        assert self.slots.free == 3 - len(self.leases)
        assert self.slots.accepting is not self.retired


TestSlotsMachine = SlotsMachine.TestCase


@given(st.integers(1, 5))
def test_a_slot_given_back_can_be_taken_again(total: int) -> None:
    slots = warm(total)
    for _ in range(3 * total):
        slots.release(slots.take("a"))
    assert slots.free == total
