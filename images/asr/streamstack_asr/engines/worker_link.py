"""The server's end of the socket to one worker, on the event loop: no thread, never blocking."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from streamstack_asr.engines import wire

_READ_BYTES: Final = 1 << 18


class WorkerLink:
    """Writes requests and reads frames until either side closes.

    Frames sent in one turn of the event loop leave in one write: a system call for each would cost more than the rest.
    What the socket does not take waits here; the server's window of audio per session bounds it.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        on_frame: Callable[[wire.Frame], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Call inside the running loop. ``on_lost`` is called once, when the worker is gone, unless closed here."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._frames = wire.Frames()
        self._unsent = bytearray()
        self._open = True
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the worker closed its end, by which it is gone, or this side did."""
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._read)

    def send(self, frame: bytes) -> None:
        """Send one frame at the end of this turn of the event loop; dropped when the worker is gone."""
        if not self._open:
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += frame

    def end(self) -> None:
        """Tell the worker to end; ``ended`` is done, and ``on_lost`` called, when it has."""
        if self._open:
            self._unsent.clear()
            self._loop.remove_writer(self._connection.fileno())
            with contextlib.suppress(OSError):  # the worker ended by itself
                self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let the worker go: it ends when it sees its socket closed. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._connection.fileno())
            self._loop.remove_writer(self._connection.fileno())
            self._connection.close()
            self._unsent.clear()
            self.ended.set_result(None)

    def _flush(self) -> None:
        if self._open and self._unsent:
            self._write()
            if self._open and self._unsent:
                self._loop.add_writer(self._connection.fileno(), self._write)

    def _write(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._connection.fileno())

    def _read(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        for frame in self._frames.feed(data):
            self._on_frame(frame)

    def _lose(self) -> None:
        if self._open:
            self.close()
            self._on_lost()
