"""The queue: one pass at a time for each stack, several stacks at once, failures contained."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from streamstack_operator.facts import StackKey
from streamstack_operator.kube import ApiUnavailableError
from streamstack_operator.queue import KeyedQueue, Outcome
from streamstack_operator.schedule import Schedule
from streamstack_operator.watchdog import watchdog
from support.waiting import Waiting

A, B, C = (StackKey("prod", name) for name in "abc")


class Passes(Waiting):
    """Passes that end when and how the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[StackKey] = []
        self.open: dict[StackKey, asyncio.Future[float]] = {}
        self.ends: list[Outcome] = []
        self.cancelled: list[StackKey] = []

    async def __call__(self, key: StackKey) -> float:
        assert key not in self.open, "two passes over one stack"
        self.begun.append(key)
        self.open[key] = asyncio.get_running_loop().create_future()
        self.notify()
        try:
            return await self.open[key]
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        finally:
            del self.open[key]

    def ended(self, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.ends.append(outcome)
        self.notify()


@asynccontextmanager
async def at_work(queue: KeyedQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def passes() -> Passes:
    return Passes()


@pytest.fixture
def make_queue(passes: Passes) -> Callable[..., KeyedQueue]:
    def make(*, workers: int = 2, longest_retry_seconds: float = 0.01) -> KeyedQueue:
        schedule = Schedule[StackKey](gap_seconds=0.0, longest_retry_seconds=longest_retry_seconds)
        return KeyedQueue(passes, workers=workers, ended=passes.ended, schedule=schedule)

    return make


async def test_stacks_are_looked_at_beside_each_other_as_far_as_there_are_workers(passes, make_queue):
    queue = make_queue(workers=2)
    for key in (A, B, C):
        queue.wake(key)
    async with at_work(queue):
        await passes.until(lambda: len(passes.open) == 2)
        assert (passes.begun, queue.depth, queue.working) == ([A, B], 1, 2)
        passes.open[A].set_result(math.inf)
        await passes.until(lambda: C in passes.open)


async def test_what_happens_during_a_pass_leads_to_another_one_after_it(passes, make_queue):
    queue = make_queue(workers=2)
    async with at_work(queue):
        queue.wake(A)
        await passes.until(lambda: A in passes.open)
        queue.wake(A)
        queue.wake(A)
        passes.open[A].set_result(math.inf)
        await passes.until(lambda: passes.begun == [A, A])
        passes.open[A].set_result(math.inf)
        await passes.until(lambda: passes.ends == [Outcome.DONE, Outcome.DONE])
        assert queue.late() is None


async def test_a_stack_is_looked_at_again_when_its_pass_asked_for_it(passes, make_queue):
    queue = make_queue()
    async with at_work(queue):
        queue.wake(A)
        await passes.until(lambda: A in passes.open)
        passes.open[A].set_result(0.01)
        await passes.until(lambda: passes.begun == [A, A])


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (ApiUnavailableError("host", "does not answer"), Outcome.FAILED, "prod/a: host: does not answer; again in"),
        (ZeroDivisionError("a mistake"), Outcome.BROKEN, "prod/a: a defect of the operator; again in"),
    ],
)
async def test_a_pass_that_fails_is_told_tried_again_and_holds_up_nobody_else(
    passes, make_queue, caplog, error, outcome, told
):
    queue = make_queue(workers=1)
    async with at_work(queue):
        queue.wake(A)
        await passes.until(lambda: A in passes.open)
        passes.open[A].set_exception(error)
        await passes.until(lambda: passes.begun == [A, A])
        assert passes.ends == [outcome]
        queue.wake(B)
        passes.open[A].set_result(math.inf)
        await passes.until(lambda: B in passes.open)
    assert told in caplog.text
    assert ("a mistake" in caplog.text) is (outcome is Outcome.BROKEN)


async def test_a_failure_that_stays_the_same_is_not_told_every_time(passes, make_queue, caplog):
    queue = make_queue(longest_retry_seconds=0.001)
    async with at_work(queue):
        queue.wake(A)
        for number in range(1, 10):
            await passes.until(lambda number=number: A in passes.open and len(passes.begun) == number)
            passes.open[A].set_exception(ApiUnavailableError("host", "does not answer"))
        await passes.until(lambda: len(passes.ends) == 9)
    assert caplog.text.count("does not answer") == 1


async def test_passes_are_broken_off_when_work_ends_and_made_anew_when_it_begins_again(passes, make_queue):
    queue = make_queue()
    async with at_work(queue):
        queue.wake(A)
        await passes.until(lambda: A in passes.open)
    assert passes.cancelled == [A]
    assert passes.ends == []
    async with at_work(queue):
        await passes.until(lambda: passes.begun == [A, A])


async def test_the_watchdog_barks_at_a_pass_that_does_not_end(passes):
    now = [0.0]
    queue = KeyedQueue(passes, workers=1, clock=lambda: now[0])
    alive = watchdog(queue, after_seconds=300)
    async with at_work(queue):
        queue.wake(A)
        await passes.until(lambda: A in passes.open)
        now[0] = 299.0
        assert alive() is None
        now[0] = 301.0
        assert alive() == "prod/a has waited 301 s for a pass to end; expected less than 300 s"


async def test_the_watchdog_sleeps_while_nobody_is_to_work(passes):
    now = [0.0]
    queue = KeyedQueue(passes, workers=1, clock=lambda: now[0])
    queue.wake(A)  # one that stands by has nothing to end
    now[0] = 1000.0
    assert watchdog(queue, after_seconds=300)() is None
