"""Worker processes: how many, which session goes where, and what happens when one dies."""

import asyncio
import itertools
import logging
import socket
from typing import Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import Emit, EngineError, EngineEvent, Failed, SessionStart
from streamstack_asr.engines.sphinx.template import ForkServer
from streamstack_asr.engines.wire import Kind
from streamstack_asr.engines.worker_link import WorkerLink

DECODERS_PER_WORKER: Final = 4
"""Sessions a worker takes before another is forked: a core decodes 6 or 7 in real time, and 4 idle decoders that all
workers share are 370 MiB."""

_END_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class PoolWorker:
    """One worker process and the sessions it serves."""

    def __init__(self, pool: "WorkerPool", *, capacity: int, permanent: bool) -> None:
        """Fork it; a worker that is not ``permanent`` ends with its last session. Raises EngineError."""
        self.capacity = capacity
        self.permanent = permanent
        self.sessions: dict[int, Emit] = {}
        self.pid: int | None = None
        """Known when it runs."""
        self.running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it serves; EngineError when it died before."""
        self.running.add_done_callback(_seen)
        self._numbers = itertools.count(1)
        self._pool = pool
        self._link = WorkerLink(pool.fork(), on_frame=self._take, on_lost=self._lost)

    def begin(self, start: SessionStart, emit: Emit) -> int:
        """Begin a session; its number here."""
        number = next(self._numbers)
        self.sessions[number] = emit
        self.send(Kind.OPEN, number, wire.encode_start(start))
        return number

    def send(self, kind: Kind, session: int, payload: bytes = b"") -> None:
        """Ask something of the worker."""
        self._link.send(wire.encode(kind, session, payload))

    def drop(self, session: int) -> None:
        """Forget a session; idempotent."""
        if self.sessions.pop(session, None) is None:
            return
        self.send(Kind.CLOSE, session)
        self._end_when_spare()

    def end(self) -> asyncio.Future[None]:
        """Forget the sessions and have the process end; the result is done when it has."""
        self.sessions.clear()
        self._link.end()
        return self._link.ended

    def _end_when_spare(self) -> None:
        if not self.permanent and not self.sessions:
            self._link.close()
            self._pool.forget(self)

    def _take(self, frame: wire.Frame) -> None:
        if frame.kind is Kind.HELLO:
            self.pid = frame.session
            self.running.set_result(None)
            return
        emit = self.sessions.get(frame.session)
        if emit is None:
            return  # closed while this was on its way
        event = wire.decode_event(frame)
        if isinstance(event, Failed):
            del self.sessions[frame.session]
            self._end_when_spare()
        emit(event)

    def _lost(self) -> None:
        if not self.running.done():
            self.running.set_exception(EngineError("a sphinx worker died before it served"))
        sessions, self.sessions = self.sessions, {}
        self._pool.replace(self, sessions=len(sessions))
        event: EngineEvent = Failed(f"the worker process that decoded this session died (pid {self.pid})")
        for emit in sessions.values():
            emit(event)


class WorkerPool:
    """``permanent`` workers at all times while started, and more while there are more sessions than they take."""

    def __init__(self, *, permanent: int, decoders_per_worker: int = DECODERS_PER_WORKER) -> None:
        """Nothing runs before ``prepare``."""
        self.workers: list[PoolWorker] = []
        self._permanent = permanent
        self._decoders = decoders_per_worker
        self._fork_server: ForkServer | None = None
        self._ended: list[ForkServer] = []
        self._started = False
        self._stopping = False

    def prepare(self) -> ForkServer:
        """Start the process that workers are forked from; idempotent. Raises EngineError."""
        if self._fork_server is None:
            self._fork_server = ForkServer(decoders=self._decoders)
        return self._fork_server

    async def start(self) -> None:
        """Return when all permanent workers serve. Raises EngineError, and leaves no process then."""
        fork_server = self.prepare()
        self._started = True
        try:
            await fork_server.loaded()
            for worker in [self._add(permanent=True) for _ in range(self._permanent)]:
                await worker.running
        except EngineError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every worker and fork server and return when they are gone; idempotent."""
        self._stopping = True
        fork_servers, self._ended = self._ended, []
        if self._fork_server is not None:
            fork_servers.append(self._fork_server)
            self._fork_server = None
        ending = [worker.end() for worker in self.workers]
        await asyncio.gather(*(fork_server.stop() for fork_server in fork_servers))
        if ending:  # those of a fork server that died end by themselves, after at most a step
            await asyncio.wait(ending, timeout=_END_SECONDS)

    def place(self, start: SessionStart, emit: Emit) -> tuple[PoolWorker, int]:
        """Begin a session at the least loaded worker; it and the session's number there. Raises EngineError."""
        self._check_running()
        free = [worker for worker in self.workers if len(worker.sessions) < worker.capacity]
        if free:
            worker = min(free, key=lambda one: len(one.sessions))
        else:
            worker = self._add(permanent=sum(one.permanent for one in self.workers) < self._permanent)
        return worker, worker.begin(start, emit)

    def place_alone(self, start: SessionStart, emit: Emit) -> tuple[PoolWorker, int]:
        """Begin a session at a worker of its own, which no other session slows or is slowed by. Raises EngineError."""
        self._check_running()
        worker = self._add(permanent=False, capacity=1)
        return worker, worker.begin(start, emit)

    def fork(self) -> socket.socket:
        """A new worker's socket, from a new fork server when the old one is gone. Raises EngineError."""
        fork_server = self.prepare()
        try:
            return fork_server.fork()
        except OSError:
            _log.warning("sphinx fork server is gone, starting another one")
            self._ended.append(fork_server)
            self._fork_server = None
        try:
            return self.prepare().fork()
        except OSError as error:
            raise EngineError(f"the sphinx engine could not fork a worker: {error}") from error

    def replace(self, lost: PoolWorker, *, sessions: int) -> None:
        """Have another worker instead of one that died; one that never served would only die again."""
        self.forget(lost)
        if self._stopping:
            return
        _log.warning("sphinx worker died", extra={"pid": lost.pid, "sessions": sessions})
        if lost.permanent and lost.pid is not None:
            try:
                self._add(permanent=True)
            except EngineError:
                _log.exception("sphinx worker could not be replaced; the next session tries again")

    def forget(self, worker: PoolWorker) -> None:
        """Place no session there any more."""
        if worker in self.workers:
            self.workers.remove(worker)

    def _add(self, *, permanent: bool, capacity: int | None = None) -> PoolWorker:
        worker = PoolWorker(self, permanent=permanent, capacity=capacity or self._decoders)
        self.workers.append(worker)
        return worker

    def _check_running(self) -> None:
        if self._stopping or not self._started:
            raise EngineError("the sphinx engine is not running: expected start() before and no stop()")


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # marks it as retrieved: a worker's death is told to its sessions
