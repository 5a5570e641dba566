"""The engine behind the interface: the server's half, which holds no model and imports no torch."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from prometheus_client.metrics_core import Metric

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import (
    Emit,
    EngineCondition,
    EngineDescription,
    EngineError,
    EngineEvent,
    Failed,
    Hypothesis,
    SessionConfig,
    SessionStart,
    Transcript,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.nemotron import languages, setup
from streamstack_asr.engines.nemotron.config import chunk_ms_of
from streamstack_asr.engines.nemotron.facts import ModelFacts
from streamstack_asr.engines.nemotron.fleet import Fleet
from streamstack_asr.engines.nemotron.gpu_metrics import GpuMonitor
from streamstack_asr.engines.nemotron.metrics import Totals, fleet_metrics
from streamstack_asr.engines.nemotron.store import StoreSettings, locate_apart
from streamstack_asr.engines.nemotron.workers import Worker
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.engines.wire import Kind

_BYTES_PER_SAMPLE: Final = 2

_log = logging.getLogger(__name__)


class NemotronSession:
    """A session in a worker."""

    def __init__(self, worker: Worker, number: int, facts: ModelFacts) -> None:
        """``number`` is the session's at ``worker``."""
        self._worker = worker
        self._number = number
        self._facts = facts

    def push(self, pcm: bytes) -> None:
        """Pass the audio on; decoded in steps of the lane's chunk whatever its size."""
        self._worker.send(Kind.AUDIO, self._number, pcm)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn; what is not decoded yet is decoded at once, with silence behind it."""
        self._worker.send(Kind.END_TURN, self._number, wire.encode_turn(turn_id, through_sample))

    def update(self, config: SessionConfig) -> None:
        """Change language and key terms from the next step on. Raises EngineError for a language it does not hear."""
        languages.prompt_of(config.language, self._facts)
        self._worker.send(Kind.UPDATE, self._number, wire.encode_config(config))

    def close(self) -> None:
        """Free the slot."""
        self._worker.drop(self._number)


class NemotronEngine:
    """One model in a process for each GPU, or on the CPU."""

    def __init__(self, options: EngineOptions, *, fleet: Fleet | None = None) -> None:
        """Raises EngineError for options that no model can make good."""
        setup.check(options)
        self._options = options
        self._store = StoreSettings.of(options)
        self._description = setup.unstarted(options)
        self._facts: ModelFacts | None = None
        self.fleet = fleet or Fleet()
        """Its workers."""
        self.fleet.changed = self._look
        self._condition = EngineCondition.WELL
        self._listeners: list[Callable[[], None]] = []
        self._totals = Totals()
        self._gpus = GpuMonitor()

    @property
    def condition(self) -> EngineCondition:
        """Overloaded while more than a twentieth of its chunks wait longer than a chunk, at every worker."""
        return self._condition

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that serve."""
        return tuple(worker.pid for worker in self.fleet.serving)

    def watch(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of ``condition``."""
        self._listeners.append(listener)

    def metrics(self, prefix: str) -> Iterator[Metric]:
        """Steps, waits and batches of all workers, the workers themselves, and the GPUs where there are any."""
        workers = self.fleet.serving
        yield from self._totals.metrics(prefix, [worker.report for worker in self.fleet.workers])
        yield from fleet_metrics(
            prefix,
            sessions=sum(len(worker.sessions) for worker in workers),
            slots=sum(worker.capacity for worker in workers),
            serving=len(workers),
            overloaded=sum(worker.overloaded for worker in workers),
            restarts=self.fleet.restarts,
        )
        yield from self._gpus.metrics(prefix)

    def describe(self) -> EngineDescription:
        """Known in full once started.

        Of key terms, as many as a slot's tables hold are favoured, from the first on: 1,024 tokens in all.
        """
        return self._description

    def prepare(self) -> None:
        """Nothing: workers are fresh processes, not forks of this one."""

    async def start(self) -> None:
        """Find the model, fetched and verified where that is due, and return when every worker serves it."""
        model = await locate_apart(self._store)
        planned = await asyncio.to_thread(setup.plan, self._options, model)
        self._facts = model.facts
        await self.fleet.start(planned.workers, ended=lambda worker: self._totals.keep(worker.report))
        about = self.fleet.workers[0].about
        self._description = replace(
            planned.description, device=about.get("device", ""), precision=about.get("precision", "")
        )
        chunks = planned.workers[0].config.lookaheads.items()
        _log.info(
            "model %s on %s in %s, %d workers, chunks: %s",
            *(model.name, self._description.device, self._description.precision, len(planned.workers)),
            ", ".join(f"{name} {chunk_ms_of(frames)} ms" for name, frames in chunks),
        )
        if planned.workers[0].config.device == "cuda":
            self._gpus.start()
        self._look()

    def open(self, start: SessionStart, emit: Emit) -> NemotronSession:
        """Place a session. Raises EngineError: for its language, before ``start``, and when no worker serves."""
        if self._facts is None:
            raise EngineError("the nemotron engine is not running: expected start() before")
        languages.prompt_of(start.config.language, self._facts)
        worker, number = self.fleet.place(start, emit)
        return NemotronSession(worker, number, self._facts)

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        """Transcribe a whole recording as a session of its own. Raises EngineError."""
        words: list[Word] = []
        language = ""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def collect(event: EngineEvent) -> None:
            nonlocal language
            match event:
                case Hypothesis() | FinalWords():
                    del words[event.words_before :]
                    words.extend(word for word in event.words if word.is_final)
                    language = event.language or language
                case TurnEnded() if not done.done():
                    done.set_result(None)
                case Failed() if not done.done():
                    done.set_exception(EngineError(event.message))

        session = self.open(SessionStart("", self._options.models[0], 0, 0, 0, config), collect)
        try:
            session.push(pcm)
            session.end_turn(0, len(pcm) // _BYTES_PER_SAMPLE)
            await done
        finally:
            session.close()
        return Transcript(words=tuple(words), language=language or self._description.languages[0])

    async def stop(self) -> None:
        """End every session and worker; idempotent."""
        await self.fleet.stop()
        self._gpus.stop()

    def _look(self) -> None:
        now = self.fleet.condition
        if now is not self._condition:
            self._condition = now
            for listener in self._listeners:
                listener()
