"""How the process of a worker begins and ends.

Started with a socket's descriptor and the server's process id as arguments. The first frame says what to be; the answer
is HELLO when it serves, or UNABLE with the reason. Signals are the server's business: one that is sent to the whole
process group must not cut sessions that the server wants to finish. The worker ends with its socket, and at once, by
SIGKILL, when the server dies.
"""

import gc
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.config import WorkerConfig
from streamstack_asr.engines.nemotron.worker.machinery import Machinery
from streamstack_asr.engines.nemotron.worker.serving import Serving
from streamstack_asr.engines.wire import Kind
from streamstack_common import process

_READ_BYTES: Final = 1 << 16


def main(assemble: Callable[[WorkerConfig], Machinery], arguments: Sequence[str]) -> None:
    """Be a worker with what ``assemble`` makes of the server's configuration, until the server is gone."""
    descriptor, server = map(int, arguments)
    process.seal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    process.die_at_once_with(server)
    with socket.socket(fileno=descriptor) as connection:
        logging.basicConfig(handlers=[_ToServer(connection)], level=logging.INFO)
        try:
            _serve(connection, assemble)
        except (BrokenPipeError, ConnectionResetError):
            return  # the server closed its end while this one was writing


class _ToServer(logging.Handler):
    """Log lines leave by the socket: the server knows how they are wanted. Only the loop's thread logs."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        self._connection.sendall(wire.encode(Kind.LOG, 0, wire.encode_log(record)))


def _serve(connection: socket.socket, assemble: Callable[[WorkerConfig], Machinery]) -> None:
    config = _configuration(connection)
    if config is None:
        return
    try:
        machinery = assemble(config)
    except EngineError as error:
        connection.sendall(wire.encode(Kind.UNABLE, 0, str(error).encode()))
        return
    # What lives now lives as long as the process; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    Serving(connection, machinery).run()


def _configuration(connection: socket.socket) -> WorkerConfig | None:
    """Wait for the first frame, which nothing follows before HELLO; None when the server is gone."""
    frames = wire.Frames()
    while data := connection.recv(_READ_BYTES):
        for frame in frames.feed(data):
            if frame.kind is not Kind.CONFIGURE:
                raise ValueError(f"the server sent {frame.kind.name}: expected CONFIGURE")
            return WorkerConfig.decode(frame.payload)
    return None
