"""One session of the load: a socket that sends frames made once and knows which chunk each Turn answers.

After the upgrade nothing here speaks WebSocket in general: of what comes back only lengths and a few bytes are looked
at, because the generator shares its core with the ASR server and what it burns cannot be offered as load.
"""

import asyncio
import json
import os
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Final, cast

FRAME_MS: Final = 50
CHUNK_MS: Final = 160
TURN_CHUNKS: Final = 13
TURN_PARTIALS: Final = 11
"""Turns before the one that ends it; see ``generator``."""

HISTORY: Final = 64
"""Chunks whose time is remembered: 10 s. An answer later than that is no answer."""

PCM: Final = bytes([1, 0, 2, 0]) * (16 * FRAME_MS // 2)
"""Low noise; the engine does not look at it."""


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame (RFC 6455 5.2). The key is zero: unmasking costs the other side the same."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


AUDIO: Final = masked(2, PCM)
TERMINATE: Final = masked(1, b'{"type":"Terminate"}')


def upgrade(port: int) -> bytes:
    """Return the upgrade of one session."""
    return (
        f"GET /v3/ws?sample_rate=16000 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RyZWFtc3RhY2tiZW5jaA==\r\n"
        "Authorization: self-hosted\r\nUser-Agent: streamstack-bench\r\n\r\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class Spread:
    """Order statistics of times, in milliseconds; None without any."""

    count: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        """Sort and look; p99 is the smallest value that 99 % do not exceed."""
        if not seconds:
            return cls(0, None, None, None)
        ordered = sorted(seconds)
        count = len(ordered)
        half, most = ordered[(count - 1) // 2], ordered[-(-count * 99 // 100) - 1]
        return cls(count, *(round(value * 1000, 2) for value in (half, most, ordered[-1])))


class Tally:
    """What all sessions together have seen."""

    def __init__(self) -> None:
        self.begin_seconds: list[float] = []
        self.partial_seconds: list[float] = []
        self.end_seconds: list[float] = []
        self.messages: Counter[str] = Counter()
        self.errors: list[str] = []
        self.sent = 0
        self.received = 0
        self.stalls = 0
        self.lost = 0
        self.window_start = float("inf")
        self.window_end = float("inf")
        self.closing = False

    def complain(self, text: str) -> None:
        """Keep the first few errors."""
        if len(self.errors) < 5:
            self.errors.append(text)


class Client(asyncio.Protocol):
    """One session: a socket whose frames are written straight to its descriptor."""

    __slots__ = (
        "_rest",
        "_written",
        "begun",
        "chunk",
        "descriptor",
        "frames",
        "leaving",
        "loaded",
        "started",
        "tally",
        "transport",
        "turns",
        "upgraded",
    )

    def __init__(self, tally: Tally, loop: asyncio.AbstractEventLoop) -> None:
        self.tally = tally
        self.begun: asyncio.Future[None] = loop.create_future()
        self.upgraded = self.loaded = self.leaving = False
        self.frames = self.chunk = self.turns = 0
        self.started = 0.0
        self._written = [0.0] * HISTORY
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the descriptor."""
        # asyncio types it as the base class; uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.descriptor: int = self.transport.get_extra_info("socket").fileno()

    def send_audio(self) -> None:
        """Send the next frame and start the clock of the chunk it completes."""
        self.frames += 1
        chunk = self.frames * FRAME_MS // CHUNK_MS
        if chunk != self.chunk:
            self.chunk = chunk
            self._written[chunk % HISTORY] = perf_counter()
        self.tally.sent += 1
        if self.loaded:
            self.transport.write(AUDIO)
            return
        try:
            written = os.write(self.descriptor, AUDIO)
        except BlockingIOError:
            written = 0
        except OSError as error:  # connection_lost follows and counts it
            self.tally.complain(f"write: {error.strerror}")
            return
        if written < len(AUDIO):
            # The other side does not read: from here on the event loop keeps what is left.
            self.tally.stalls += 1
            self.loaded = True
            self.transport.write(AUDIO[written:])

    def leave(self) -> None:
        """Ask for the end of the session."""
        self.leaving = True
        self.transport.write(TERMINATE)

    def data_received(self, data: bytes) -> None:
        """Cut what came into messages."""
        now = perf_counter()
        if self._rest:
            data = self._rest + data
        position, size = 0, len(data)
        if not self.upgraded:
            position = data.find(b"\r\n\r\n") + 4
            if position < 4:
                self._rest = data
                return
            self.upgraded = data.startswith(b"HTTP/1.1 101 ")
            if not self.upgraded:
                self.tally.complain(data[:100].decode("latin-1"))
                self.transport.abort()
                return
        while size - position >= 4:
            length, start = data[position + 1], position + 2
            if length == 126:
                length, start = data[position + 2] << 8 | data[position + 3], position + 4
            end = start + length
            if end > size:
                break
            self._message(data[position] & 15, data, start, end, now)
            position = end
        self._rest = data[position:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an end nobody asked for."""
        if not (self.leaving or self.tally.closing):
            self.tally.lost += 1
        if not self.begun.done():
            self.begun.set_exception(ConnectionResetError("closed before Begin"))
            self.begun.exception()  # burst and arrivals count it as lost; only the first sessions wait for it

    def _message(self, opcode: int, data: bytes, start: int, end: int, now: float) -> None:
        if opcode == 1:
            if data.startswith(b'{"type":"Turn"', start):
                self._turn(data, start, end, now)
            else:
                self._other(data[start:end], now)
        elif opcode == 9:
            self.transport.write(masked(10, data[start:end]))

    def _turn(self, data: bytes, start: int, end: int, now: float) -> None:
        tally = self.tally
        tally.received += 1
        self.turns += 1
        if self.leaving:
            return  # ended by Terminate, not by a chunk
        at = data.rfind(b'"end":', start, end)
        chunk = int(data[at + 6 : data.index(b",", at)]) // CHUNK_MS
        if data.find(b'"end_of_turn":true', start, start + 100) >= 0:
            chunk, seconds = chunk + 3, tally.end_seconds
        else:
            seconds = tally.partial_seconds
            if data.find(b'"word_is_final":true', at, end) >= 0:
                chunk += 1
        written = self._written[chunk % HISTORY]
        if tally.window_start <= written < tally.window_end:
            seconds.append(now - written)

    def _other(self, message: bytes, now: float) -> None:
        kind = json.loads(message)["type"]
        self.tally.messages[kind] += 1
        if kind == "Begin" and not self.begun.done():
            self.begun.set_result(None)
            self.tally.begin_seconds.append(now - self.started)
        elif kind == "Error":
            self.tally.complain(message.decode())

    @property
    def missing(self) -> int:
        """Turns the audio sent so far must have brought and has not."""
        turns, rest = divmod(self.chunk, TURN_CHUNKS)
        return max(0, turns * (TURN_PARTIALS + 1) + min(rest, TURN_PARTIALS) - self.turns)
