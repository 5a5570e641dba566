"""A worker process: decodes several sessions, a step of each in turn, so that none waits for another's burst."""

import os
import select
import socket
from collections.abc import Iterable
from typing import Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import Failed
from streamstack_asr.engines.sphinx.decoder import Decoder, DecoderError
from streamstack_asr.engines.sphinx.recognition import Recognition
from streamstack_asr.engines.wire import Kind

_READ_BYTES: Final = 1 << 18


class Worker:
    """Serves the sessions that one socket brings until its other end is closed."""

    def __init__(self, connection: socket.socket, decoders: Iterable[Decoder]) -> None:
        """``decoders`` are ready for use; when all are taken another one is loaded, which takes 0.3 s."""
        self._connection = connection
        self._spare = list(decoders)
        self._sessions: dict[int, Recognition] = {}
        self._frames = wire.Frames()

    def run(self) -> None:
        """Return when the server is gone or wants no more of this worker."""
        self._connection.sendall(wire.encode(Kind.HELLO, os.getpid()))
        while True:
            ready = [number for number, session in self._sessions.items() if session.has_work]
            if not self._receive(wait=not ready):
                return
            for number in ready:
                if number in self._sessions:
                    self._step(number)
                # Between any two steps, so that a new session's first one comes after at most one of each other.
                if not self._receive(wait=False):
                    return

    def _receive(self, *, wait: bool) -> bool:
        readable, _, _ = select.select([self._connection], [], [], None if wait else 0)
        if not readable:
            return True
        data = self._connection.recv(_READ_BYTES)
        for frame in self._frames.feed(data):
            self._take(frame)
        return bool(data)

    def _take(self, frame: wire.Frame) -> None:
        if frame.kind is Kind.OPEN:
            self._open(frame)
            return
        session = self._sessions.get(frame.session)
        if session is None:
            return  # it failed here, and the server did not know yet when it sent this
        match frame.kind:
            case Kind.AUDIO:
                session.push(frame.payload)
            case Kind.END_TURN:
                session.end_turn(*wire.decode_turn(frame.payload))
            case Kind.CLOSE:
                self._release(frame.session)
            case _:
                raise ValueError(f"the server sent {frame.kind.name}: expected a request")

    def _open(self, frame: wire.Frame) -> None:
        try:
            decoder = self._spare.pop() if self._spare else Decoder()
        except DecoderError as error:
            self._send_failed(frame.session, error)
            return
        self._sessions[frame.session] = Recognition(wire.decode_start(frame.payload), decoder)

    def _step(self, number: int) -> None:
        try:
            events = self._sessions[number].step()
        except DecoderError as error:
            del self._sessions[number]  # its decoder goes with it: nobody knows what state it is in
            self._send_failed(number, error)
            return
        if events:
            self._connection.sendall(b"".join(wire.encode_event(number, event) for event in events))

    def _release(self, number: int) -> None:
        try:
            self._spare.append(self._sessions.pop(number).release())
        except DecoderError:
            return  # one decoder less to reuse; the session is over anyway

    def _send_failed(self, number: int, error: DecoderError) -> None:
        self._connection.sendall(wire.encode_event(number, Failed(str(error))))


def serve(connection: socket.socket, decoders: Iterable[Decoder]) -> None:
    """Be a worker until the server is gone."""
    try:
        Worker(connection, decoders).run()
    except (BrokenPipeError, ConnectionResetError):
        return  # the server closed its end while this one was writing
