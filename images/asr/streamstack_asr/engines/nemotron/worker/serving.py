"""The loop of a worker: it alone touches the model, so nothing in it waits for anything but the next step's time."""

import json
import math
import os
import select
import socket
import time
from typing import Any, Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import EngineEvent
from streamstack_asr.engines.nemotron.worker.desk import Desk
from streamstack_asr.engines.nemotron.worker.load import Overload
from streamstack_asr.engines.nemotron.worker.machinery import Machinery
from streamstack_asr.engines.wire import Kind

BEAT_MS: Final = 250.0
"""A sign of life at least this often, but for steps that take longer."""
_READ_BYTES: Final = 1 << 18
_MOST_READS: Final = 32
"""Before the next step: 8 MiB, more than comes in during any; a flood of one session must not keep others waiting."""


class Serving:
    """Serves the sessions that one socket brings until its other end is closed."""

    def __init__(self, connection: socket.socket, machinery: Machinery) -> None:
        self._connection = connection
        self._about = machinery.about
        self._frames = wire.Frames()
        self._unsent: list[bytes] = []
        self._desk = Desk(machinery, self._tell)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._beat_at = 0.0

    def run(self) -> None:
        """Return when the server is gone or wants no more of this worker."""
        self._connection.sendall(wire.encode(Kind.HELLO, os.getpid(), json.dumps(self._about).encode()))
        while self._receive():
            self._desk.step(_now_ms(), _now_ms)
            self._beat()
            self._flush()

    def _receive(self) -> bool:
        """Take in what came, waiting for more while no step is due; False when the server is gone."""
        now = _now_ms()
        due = self._desk.due_ms()
        wait = max(0.0, min(self._beat_at, self._beat_at if due is None else due) - now)
        if not self._poll.poll(math.ceil(wait)):
            return True
        for _ in range(_MOST_READS):
            try:
                data = self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            if not data:
                return False
            for frame in self._frames.feed(data):
                self._take(frame)
        return True

    def _take(self, frame: wire.Frame) -> None:
        desk, number, now = self._desk, frame.session, _now_ms()
        match frame.kind:
            case Kind.AUDIO:
                desk.push(number, frame.payload, now)
            case Kind.END_TURN:
                desk.end_turn(number, *wire.decode_turn(frame.payload), now)
            case Kind.OPEN:
                desk.open(number, wire.decode_start(frame.payload))
            case Kind.UPDATE:
                desk.update(number, wire.decode_config(frame.payload))
            case Kind.CLOSE:
                desk.close(number, now)
            case _:
                raise ValueError(f"the server sent {frame.kind.name}: expected a request")

    def _beat(self) -> None:
        now = _now_ms()
        overload: Overload = self._desk.load.overload
        before = overload.now
        if overload.tick(now) is not before or now >= self._beat_at:
            self._beat_at = now + BEAT_MS
            report: dict[str, Any] = self._desk.report()
            self._unsent.append(wire.encode(Kind.BEAT, 0, json.dumps(report).encode()))

    def _flush(self) -> None:
        if self._unsent:
            self._connection.sendall(b"".join(self._unsent))
            self._unsent.clear()

    def _tell(self, number: int, event: EngineEvent) -> None:
        self._unsent.append(wire.encode_event(number, event))


def _now_ms() -> float:
    return time.monotonic() * 1_000
