"""Who looks at which stack next: any number of reasons in, one pass at a time for each stack out."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from streamstack_operator.facts import StackKey
from streamstack_operator.kube import KubeError
from streamstack_operator.schedule import NEVER, Schedule

log = logging.getLogger(__name__)

TELL_EVERY: Final = 10
"""Of failures in a row the first is logged, and every so many."""


class Outcome(StrEnum):
    """How a pass ended, as the metric has it."""

    DONE = "done"
    FAILED = "failed"
    """The API server did not do what was asked."""
    BROKEN = "broken"
    """A defect of the operator; the stack that brings it out is held up, the others are not."""


class KeyedQueue:
    """De-duplicating queue of stacks; at most ``workers`` passes at once, one for each stack.

    ``reconcile`` returns the seconds until its stack is to be looked at again, infinite for never. ``ended`` is told
    how each pass ended and how many seconds it took.
    """

    def __init__(
        self,
        reconcile: Callable[[StackKey], Awaitable[float]],
        *,
        workers: int,
        ended: Callable[[Outcome, float], None] = lambda _outcome, _seconds: None,
        schedule: Schedule[StackKey] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reconcile = reconcile
        self._workers = workers
        self._ended = ended
        self._schedule = schedule or Schedule[StackKey]()
        self._clock = clock
        self._passes: dict[asyncio.Task[float], tuple[StackKey, float]] = {}
        self._changed = asyncio.Event()
        self._running = False

    def wake(self, key: StackKey) -> None:
        """Ask for a pass over a stack, as soon as there is a worker for it."""
        self._schedule.wake(key, now=self._clock())
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled; passes that are under way then are broken off, and made anew by the next run."""
        self._running = True
        try:
            while True:
                self._changed.clear()
                self._start_what_is_due()
                await self._until_something_changes()
        finally:
            self._running = False
            for task in self._passes:
                task.cancel()
            if self._passes:
                await asyncio.wait(self._passes)

    @property
    def depth(self) -> int:
        """Stacks that are due and wait for a worker."""
        return self._schedule.depth(now=self._clock())

    @property
    def working(self) -> int:
        """Passes under way."""
        return len(self._passes)

    def late(self) -> tuple[StackKey, float] | None:
        """Return the stack that has waited longest for a pass to end, and the seconds; None while nothing waits."""
        return self._schedule.late(now=self._clock()) if self._running else None

    def _start_what_is_due(self) -> None:
        while len(self._passes) < self._workers:
            now = self._clock()
            key = self._schedule.start(now=now)
            if key is None:
                return
            task = asyncio.ensure_future(self._reconcile(key))
            self._passes[task] = (key, now)
            task.add_done_callback(self._take_result)

    async def _until_something_changes(self) -> None:
        due = self._schedule.next_due() if len(self._passes) < self._workers else NEVER
        timeout = None if due == NEVER else max(0.0, due - self._clock())
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return  # something is due

    def _take_result(self, task: asyncio.Task[float]) -> None:
        key, started = self._passes.pop(task)
        now = self._clock()
        self._changed.set()
        if task.cancelled():
            self._schedule.abandon(key, now=now)
            return
        error = task.exception()
        if error is None:
            self._schedule.finish(key, now=now, again_seconds=task.result())
            outcome = Outcome.DONE
        else:
            outcome = self._take_error(key, error, now=now)
        self._ended(outcome, now - started)

    def _take_error(self, key: StackKey, error: BaseException, *, now: float) -> Outcome:
        delay = self._schedule.fail(key, now=now)
        told = (self._schedule.failures(key) - 1) % TELL_EVERY == 0
        if isinstance(error, KubeError):
            log.log(logging.WARNING if told else logging.DEBUG, "%s: %s; again in %.0f s", key, error, delay)
            return Outcome.FAILED
        log.log(
            logging.ERROR if told else logging.DEBUG,
            "%s: a defect of the operator; again in %.0f s",
            key,
            delay,
            exc_info=error,
        )
        return Outcome.BROKEN
