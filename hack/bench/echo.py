"""What stands behind nginx in place of gateway and ASR server: answers every 160 ms chunk with one Turn.

The Turn is the size of one with ten words (about 900 bytes) and says which chunk it answers in the way the generator
reads. Nothing is parsed: audio comes in frames of one known size, so bytes are counted.
"""

import asyncio
import base64
import hashlib
import signal
from typing import Final, cast

import uvloop
from wire import AUDIO, CHUNK_MS, FRAME_MS

from streamstack_common.process import announce, die_with_parent

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_BEGIN: Final = b'{"type":"Begin","id":"00000000-0000-0000-0000-000000000000"}'
_WORD: Final = b'{"start":1000,"end":1160,"text":"evident","confidence":0.9,"word_is_final":true}'
_TURN: Final = (
    b'{"type":"Turn","turn_order":0,"turn_is_formatted":false,"end_of_turn":false,"transcript":"'
    b"we hold these truths to be self evident and"
    b'","end_of_turn_confidence":0.0,"words":['
    + b",".join([_WORD] * 9)
    + b',{"start":1440,"end":%d,"text":"plain","confidence":0.9,"word_is_final":false}],"utterance":""}'
)


def text_frame(payload: bytes) -> bytes:
    """Return a server's text frame (RFC 6455 5.2)."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


class Echo(asyncio.Protocol):
    """One session."""

    def __init__(self) -> None:
        self._head = b""
        self._is_open = False
        self._bytes = 0
        self._chunk = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # asyncio types it as the base class; uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Count, and answer each chunk once."""
        if not self._is_open:
            self._upgrade(data)
            return
        self._bytes += len(data)
        chunk = self._bytes // len(AUDIO) * FRAME_MS // CHUNK_MS
        while self._chunk < chunk:
            self._chunk += 1
            self._transport.write(text_frame(_TURN % (self._chunk * CHUNK_MS)))

    def _upgrade(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        lines = (line.partition(b":") for line in self._head.split(b"\r\n"))
        key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 4.2.2 asks for it
        self._is_open = True
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
            + text_frame(_BEGIN)
        )


async def serve() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4_096)
    announce(echo=str(server.sockets[0].getsockname()[1]))
    await stop.wait()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(serve())
