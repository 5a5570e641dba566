"""All workers: which session goes where, how the engine is, and a new worker for every one that died."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from streamstack_asr.engines.base import Emit, EngineCondition, EngineError, SessionStart
from streamstack_asr.engines.nemotron.setup import WorkerPlan
from streamstack_asr.engines.nemotron.workers import COMMAND, FROZEN_SECONDS, Worker

START_SECONDS: Final = 900.0
"""For a worker to load, warm up and serve: minutes from a slow disk, with every CUDA graph captured."""
FIRST_BACKOFF_SECONDS: Final = 1.0
LONGEST_BACKOFF_SECONDS: Final = 30.0
WELL_AFTER_SECONDS: Final = 60.0
"""A worker that served that long did not die of what the one before it died of."""
_END_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Fleet:
    """A worker for each plan, at all times while started."""

    def __init__(
        self,
        *,
        command: Sequence[str] = COMMAND,
        frozen_seconds: float = FROZEN_SECONDS,
        first_backoff_seconds: float = FIRST_BACKOFF_SECONDS,
    ) -> None:
        """Nothing runs before ``start``."""
        self.workers: list[Worker] = []
        self.restarts = 0
        self.changed: Callable[[], None] = lambda: None
        """Called whenever ``condition`` may be another."""
        self._command = command
        self._frozen_seconds = frozen_seconds
        self._first_backoff_seconds = first_backoff_seconds
        self._keepers: list[asyncio.Task[None]] = []
        self._ended: Callable[[Worker], None] = lambda worker: None

    @property
    def serving(self) -> list[Worker]:
        """Workers that serve now."""
        return [worker for worker in self.workers if worker.serves]

    @property
    def condition(self) -> EngineCondition:
        """Down without a worker; overloaded when none has both a free slot and time for it."""
        serving = self.serving
        if not serving:
            return EngineCondition.DOWN
        if all(worker.overloaded for worker in serving):
            return EngineCondition.OVERLOADED
        missing = len(serving) < len(self._keepers)
        full = all(worker.overloaded or worker.free <= 0 for worker in serving)
        return EngineCondition.OVERLOADED if missing and full else EngineCondition.WELL

    async def start(self, plans: Sequence[WorkerPlan], *, ended: Callable[[Worker], None]) -> None:
        """Return when every worker serves; ``ended`` hears of each that died later. Raises EngineError."""
        self._ended = ended
        try:
            first = [self._add(plan) for plan in plans]
            async with asyncio.timeout(START_SECONDS):
                await asyncio.gather(*(asyncio.shield(worker.running) for worker in first))
        except TimeoutError as error:
            await self.stop()
            raise EngineError(f"a worker did not serve within {START_SECONDS:g} s of its start") from error
        except (EngineError, asyncio.CancelledError):
            await self.stop()
            raise
        self._keepers = [
            asyncio.create_task(self._keep(plan, worker)) for plan, worker in zip(plans, first, strict=True)
        ]

    async def stop(self) -> None:
        """End every worker and return when they are gone; idempotent."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []
        workers, self.workers = self.workers, []
        if not workers:
            return
        for worker in workers:
            if worker.serves:
                worker.end()
            else:
                worker.kill()  # it would load to its end before it saw that nobody wants it
        await asyncio.wait([worker.ended for worker in workers], timeout=_END_SECONDS)
        for worker in workers:
            worker.kill()  # in the middle of a step that does not end
        await asyncio.wait([worker.ended for worker in workers])

    def place(self, start: SessionStart, emit: Emit) -> tuple[Worker, int]:
        """Begin a session at the worker with the most free slots; it, and its number there. Raises EngineError."""
        free = [worker for worker in self.serving if worker.free > 0]
        if not free:
            raise EngineError("no worker of the nemotron engine serves and has a free slot: expected one of them")
        worker = max(free, key=lambda one: (not one.overloaded, one.free))
        return worker, worker.begin(start, emit)

    def _tell(self) -> None:
        self.changed()

    def _add(self, plan: WorkerPlan) -> Worker:
        worker = Worker(plan, changed=self._tell, command=self._command, frozen_seconds=self._frozen_seconds)
        self.workers.append(worker)
        return worker

    async def _keep(self, plan: WorkerPlan, worker: Worker | None) -> None:
        """Have a worker serve again and again; every try and its error is logged, however often."""
        loop = asyncio.get_running_loop()
        backoff = 0.0
        while True:
            if worker is not None:
                began = loop.time()
                await asyncio.shield(worker.ended)  # not before: a process that is not gone holds the GPU's memory
                self.workers.remove(worker)
                self._ended(worker)
                if loop.time() - began > WELL_AFTER_SECONDS:
                    backoff = 0.0
                _log.error("worker died, starting another in %.0f s", backoff, extra={"pid": worker.pid})
            await asyncio.sleep(backoff)
            backoff = min(max(self._first_backoff_seconds, 2 * backoff), LONGEST_BACKOFF_SECONDS)
            self.restarts += 1
            worker = await self._serve_again(plan)

    async def _serve_again(self, plan: WorkerPlan) -> Worker | None:
        """Start a worker; None, and no process, when it does not come to serve."""
        worker: Worker | None = None
        try:
            worker = self._add(plan)
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(worker.running)
        except (EngineError, TimeoutError) as error:
            _log.error("worker could not be replaced: %s", error or f"not ready within {START_SECONDS:g} s")
            if worker is not None:
                worker.kill()
                await asyncio.shield(worker.ended)
                self.workers.remove(worker)
            return None
        _log.info("worker serves", extra={"pid": worker.pid})
        return worker
