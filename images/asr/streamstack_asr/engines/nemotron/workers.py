"""One worker process as the server sees it: its sessions, whether it lives, and what it says of its load."""

import asyncio
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import Emit, EngineError, EngineEvent, Failed, SessionStart
from streamstack_asr.engines.nemotron.setup import WorkerPlan
from streamstack_asr.engines.wire import Kind
from streamstack_asr.engines.worker_link import WorkerLink
from streamstack_common.process import ANNOUNCE_FD

COMMAND: Final = (sys.executable, "-m", "streamstack_asr.engines.nemotron.worker")
FROZEN_SECONDS: Final = 10.0
"""Without a beat; the slowest step, of the largest batch on one core, is a tenth of it."""
_LOOK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Worker:
    """A process from start to end; ``changed`` is called when it serves or fails, or its slots or load change."""

    def __init__(
        self,
        plan: WorkerPlan,
        *,
        changed: Callable[[], None],
        command: Sequence[str] = COMMAND,
        frozen_seconds: float = FROZEN_SECONDS,
    ) -> None:
        """Start it, inside the running loop. Raises EngineError."""
        loop = asyncio.get_running_loop()
        self.capacity = plan.config.slots
        self.sessions: dict[int, Emit] = {}
        self.report: dict[str, Any] = {}
        """What it last said of its load; see ``worker.load``."""
        self.about: dict[str, str] = {}
        self.running: asyncio.Future[None] = loop.create_future()
        """Done when it serves; EngineError when it cannot."""
        self.running.add_done_callback(_seen)
        self.ended: asyncio.Future[None] = loop.create_future()
        """Done when the process is gone, with its hold on the GPU."""
        self._changed = changed
        self._numbers = itertools.count(1)
        self._process, connection = _spawn(plan, command)
        self.pid = self._process.pid
        self._exit = os.pidfd_open(self.pid)
        loop.add_reader(self._exit, self._exited)
        self._link = WorkerLink(connection, on_frame=self._take, on_lost=self._lost)
        self._link.send(wire.encode(Kind.CONFIGURE, 0, plan.config.encode()))
        self._looks_left = self._looks = max(1, round(frozen_seconds / _LOOK_SECONDS))
        self._look_seconds = min(_LOOK_SECONDS, frozen_seconds)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def serves(self) -> bool:
        """Whether it takes sessions' audio now."""
        return self.running.done() and self.running.exception() is None and not self._link.ended.done()

    @property
    def overloaded(self) -> bool:
        """Whether it says that it has more than it can do."""
        return bool(self.report.get("overloaded"))

    @property
    def free(self) -> int:
        """Slots that no session has."""
        return self.capacity - len(self.sessions)

    def begin(self, start: SessionStart, emit: Emit) -> int:
        """Begin a session; its number here."""
        number = next(self._numbers)
        self.sessions[number] = emit
        self.send(Kind.OPEN, number, wire.encode_start(start))
        self._changed()
        return number

    def send(self, kind: Kind, session: int, payload: bytes = b"") -> None:
        """Ask something of the process."""
        self._link.send(wire.encode(kind, session, payload))

    def drop(self, session: int) -> None:
        """Forget a session; idempotent."""
        if self.sessions.pop(session, None) is not None:
            self.send(Kind.CLOSE, session)
            self._changed()

    def end(self) -> None:
        """Forget the sessions and have the process end."""
        self.sessions.clear()
        self._link.end()

    def kill(self) -> None:
        """End the process whatever it does."""
        if not self.ended.done():
            self._process.kill()

    def _take(self, frame: wire.Frame) -> None:
        match frame.kind:
            case Kind.BEAT:
                self._looks_left = self._looks
                before = self.overloaded
                self.report = json.loads(frame.payload)
                if self.overloaded is not before:
                    self._changed()
            case Kind.HELLO:
                self.about = json.loads(frame.payload)
                self._look()
                self.running.set_result(None)
                self._changed()
            case Kind.UNABLE:
                self.running.set_exception(EngineError(frame.payload.decode()))
            case Kind.LOG:
                name, level, message = wire.decode_log(frame.payload)
                logging.getLogger(name).log(level, message, extra={"worker": self.pid})
            case _:
                self._hand_on(frame)

    def _hand_on(self, frame: wire.Frame) -> None:
        emit = self.sessions.get(frame.session)
        if emit is None:
            return  # closed while this was on its way
        event = wire.decode_event(frame)
        if isinstance(event, Failed):
            del self.sessions[frame.session]
            self._changed()
        emit(event)

    def _look(self) -> None:
        # Looks are counted, not seconds: a server that was frozen itself does not find its workers frozen.
        if self._looks_left == 0:
            _log.error("worker gives no sign of life, killing it", extra={"pid": self.pid})
            self.kill()
            return
        self._looks_left -= 1
        self._timer = asyncio.get_running_loop().call_later(self._look_seconds, self._look)

    def _lost(self) -> None:
        """Its socket is closed: it is gone, or about to be."""
        if self._timer is not None:
            self._timer.cancel()
        self.kill()
        if not self.running.done():
            self.running.set_exception(EngineError(f"worker {self.pid} died before it served; its log says why"))
        sessions, self.sessions = self.sessions, {}
        event: EngineEvent = Failed(f"the worker process that decoded this session died (pid {self.pid})")
        for emit in sessions.values():
            emit(event)
        self._changed()

    def _exited(self) -> None:
        asyncio.get_running_loop().remove_reader(self._exit)
        os.close(self._exit)
        self._process.wait()
        self.ended.set_result(None)


def _spawn(plan: WorkerPlan, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process with one end of a socket pair. Raises EngineError."""
    ours, theirs = socket.socketpair()
    environment = {name: value for name, value in os.environ.items() if name != ANNOUNCE_FD} | plan.environment
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [*command, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        ours.close()
        raise EngineError(f"the nemotron engine could not start a worker: {error}") from error
    finally:
        theirs.close()
    return process, ours


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # marks it as retrieved: its death is told to its sessions
