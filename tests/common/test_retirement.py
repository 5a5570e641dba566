import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamstack_common.retirement import Retirement, StaleGenerationError

GENERATIONS = st.integers(0, 4)


def test_a_repeated_request_changes_nothing_and_says_so() -> None:
    retirement = Retirement()
    assert not retirement.resume(0)
    assert retirement.retire(3)
    assert not retirement.retire(3)
    assert not retirement.retire(4)
    assert retirement.resume(4)
    assert retirement.accepting


def test_an_older_request_is_refused_with_both_generations_and_changes_nothing() -> None:
    retirement = Retirement()
    retirement.retire(3)
    with pytest.raises(StaleGenerationError, match="generation 2 is older than 3, the last one obeyed"):
        retirement.resume(2)
    assert (retirement.retired, retirement.generation) == (True, 3)


def test_nothing_resumes_a_stopping_process() -> None:
    retirement = Retirement()
    retirement.stop()
    retirement.retire(1)
    retirement.resume(2)
    assert (retirement.accepting, retirement.retired, retirement.stopping) == (False, False, True)


class RetirementMachine(RuleBasedStateMachine):
    """Against the plain rule: of the requests so far, the last one with the highest generation counts."""

    def __init__(self) -> None:
        super().__init__()
        self.retirement = Retirement()
        self.requests = [(0, False)]
        self.stopped = False

    @property
    def expected(self) -> tuple[int, bool]:
        highest = max(generation for generation, _ in self.requests)
        return next(request for request in reversed(self.requests) if request[0] == highest)

    @rule(generation=GENERATIONS, retire=st.booleans())
    def ask(self, generation: int, retire: bool) -> None:
        before_generation, was_retired = self.expected
        act = self.retirement.retire if retire else self.retirement.resume
        if generation < before_generation:
            with pytest.raises(StaleGenerationError):
                act(generation)
        else:
            assert act(generation) is (was_retired is not retire)
        self.requests.append((generation, retire))

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self.retirement.stop()
        self.stopped = True

    @invariant()
    def the_rule_holds(self) -> None:
        assert (self.retirement.generation, self.retirement.retired) == self.expected
        assert self.retirement.stopping is self.stopped
        assert self.retirement.accepting is not (self.expected[1] or self.stopped)


TestRetirementMachine = RetirementMachine.TestCase
