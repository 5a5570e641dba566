"""The engine behind the interface: sessions and recordings handed to worker processes."""

import asyncio
import os
from typing import Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import (
    Emit,
    EngineDescription,
    EngineError,
    EngineEvent,
    Failed,
    Hypothesis,
    SessionConfig,
    SessionStart,
    SteadyEngine,
    Transcript,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.sphinx.pool import DECODERS_PER_WORKER, PoolWorker, WorkerPool
from streamstack_asr.engines.wire import Kind

_CHUNK_MS: Final = 100
_LEFT_CONTEXT_MS: Final = 500
_WINDOW_MS: Final = 10_000


class SphinxSession:
    """A session in a worker."""

    def __init__(self, worker: PoolWorker, number: int) -> None:
        """``number`` is the session's at ``worker``."""
        self._worker = worker
        self._number = number

    def push(self, pcm: bytes) -> None:
        """Pass the audio on; decoded in steps of 100 ms whatever its size."""
        self._worker.send(Kind.AUDIO, self._number, pcm)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn; audio behind ``through_sample`` that was decoded already is decoded again.

        When decoding ran more than 600 ms ahead, words behind ``through_sample`` may have been sent as final in the
        turn; ``Final.words_before`` does not count them, and the next turn reports them again.
        """
        self._worker.send(Kind.END_TURN, self._number, wire.encode_turn(turn_id, through_sample))

    def update(self, config: SessionConfig) -> None:
        """Nothing in a configuration changes what this engine does; see ``describe``."""

    def close(self) -> None:
        """Free the decoder."""
        self._worker.drop(self._number)


class SphinxEngine(SteadyEngine):
    """pocketsphinx in worker processes, because it holds the interpreter's lock while it decodes."""

    def __init__(
        self, *, models: tuple[str, ...], workers: int, decoders_per_worker: int = DECODERS_PER_WORKER
    ) -> None:
        """``workers`` processes stand ready, 0 for one per usable core, and each loads ``decoders_per_worker``."""
        permanent = workers or len(os.sched_getaffinity(0))
        self._pool = WorkerPool(permanent=permanent, decoders_per_worker=decoders_per_worker)
        self._description = EngineDescription(
            engine="sphinx",
            models=models,
            chunk_ms=_CHUNK_MS,
            left_context_ms=_LEFT_CONTEXT_MS,
            window_ms=_WINDOW_MS,
            languages=("en",),
            batch=True,
        )

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that serve, the oldest first."""
        return tuple(worker.pid for worker in self._pool.workers if worker.pid is not None)

    def describe(self) -> EngineDescription:
        """Without keyterms: a word the dictionary lacks needs a pronunciation, and the language model no hint."""
        return self._description

    def prepare(self) -> None:
        """Start loading the model, in the process that workers are forked from. Raises EngineError."""
        self._pool.prepare()

    async def start(self) -> None:
        """Return when every worker serves. Raises EngineError when the model cannot be loaded."""
        await self._pool.start()

    def open(self, start: SessionStart, emit: Emit) -> SphinxSession:
        """Place a session at the least loaded worker. Raises EngineError before ``start`` and after ``stop``."""
        return SphinxSession(*self._pool.place(start, emit))

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        """Transcribe in a worker of its own. Raises EngineError when that worker dies."""
        words: list[Word] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def collect(event: EngineEvent) -> None:
            match event:
                case Hypothesis() | FinalWords():
                    words.extend(word for word in event.words if word.is_final)
                case TurnEnded() if not done.done():
                    done.set_result(None)
                case Failed() if not done.done():
                    done.set_exception(EngineError(event.message))

        start = SessionStart("", "", 0, 0, 0, config)
        session = SphinxSession(*self._pool.place_alone(start, collect))
        try:
            session.push(pcm)
            session.end_turn(0, len(pcm) // 2)
            await done
        finally:
            session.close()
        return Transcript(words=tuple(words), language="en")

    async def stop(self) -> None:
        """End every worker and wait for them; idempotent."""
        await self._pool.stop()
