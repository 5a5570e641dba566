"""One client socket: `websockets`' sans-I/O protocol inside an asyncio protocol.

No task, no queue and no await per message: what arrives is parsed, handled and answered in one call. The high-level
server costs a third more per frame and starves replies beyond a thousand sessions on a core.
"""

import asyncio
import logging
import traceback
from http import HTTPStatus
from typing import Final, Protocol, cast

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from streamstack_gateway import errors
from streamstack_gateway.dialects.events import Dialect, Failure, ServerEvent, SessionRequest
from streamstack_gateway.edge.answers import Answer
from streamstack_gateway.edge.fragments import Fragments
from streamstack_gateway.edge.frames import RequestEnd, audio_message, text_message
from streamstack_gateway.edge.rate import MessageRate
from streamstack_gateway.session.ports import Client
from streamstack_gateway.session.session import Session
from streamstack_gateway.tokens import Grant

log = logging.getLogger(__name__)
quiet = logging.getLogger(f"{__name__}.websockets")
quiet.setLevel(logging.CRITICAL)  # its debug lines hold frames, which hold audio and transcripts

MAX_MESSAGE_BYTES: Final = 1 << 20
"""A second of 96 kHz PCM is 192,000 bytes; beyond this the socket is closed with 1009 while it is being read."""

MAX_UNREAD_BYTES: Final = 1 << 20
"""Messages a client may leave unread in this process, on top of the kernel's buffers: minutes of partials."""

SLICE_BYTES: Final = 16 << 10
"""Handled in one go; of the smallest messages that is a good ten milliseconds' work."""

HANDSHAKE_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
"""Idle time before a ping: some clients send none (protocol reference 15.3), and proxies cut idle connections."""
VANISHED_SECONDS: Final = 60.0
"""Silence, pongs included, after which the client counts as gone."""
CLOSE_SECONDS: Final = 5.0
BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""For what `websockets` cannot read as a request, raw non-ASCII targets included; it would close without a word."""
CLOSE_REASON: Final = "See Error message for details"


class Door(Protocol):
    """What a connection needs of the gateway behind it."""

    def begin(self, request: SessionRequest, grant: Grant, client: Client, now: float) -> Session:
        """Admit a client. Raises SessionError."""

    def authorize(self, headers: Headers, target: str) -> Grant:
        """What a client's credential allows. Raises SessionError."""

    def dialect(self, path: str) -> Dialect | None:
        """Who speaks on ``path``; None when nobody does."""

    def answer(self, path: str, request: Request) -> Answer | None:
        """The answer to a plain HTTP request; None when ``path`` is none for that."""

    def begun(self, seconds: float) -> None:
        """A client got ``Begin`` that long after its TCP connect."""

    def opened(self, connection: "Connection") -> bool:
        """A socket is there; False when there are too many."""

    def closed(self, connection: "Connection") -> None:
        """It is gone."""


class Connection(asyncio.Protocol):
    """One socket from TCP connect to its end; implements ``session.ports.Client``."""

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self._door = door
        self._loop = loop
        self._ws = ServerProtocol(max_size=MAX_MESSAGE_BYTES, logger=quiet)
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._dialect: Dialect | None = None
        self._fragments = Fragments()
        self._connected_at = self._heard_at = self._pinged_at = loop.time()
        self._closing_at: float | None = None
        self._choked = False
        self._rate = MessageRate(loop.time())
        self._held = b""
        self._request = RequestEnd()

    # ---------------------------------------------------------------------------------------------------------- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, unless there are too many."""
        # asyncio types it as the base class; uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if not self._door.opened(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Parse, handle, answer; in slices, and no faster than a client may send, so that no other has to wait."""
        if self._held:
            self._held += data
            return
        now = self._loop.time()
        self._heard_at = now
        messages = self._take(data if len(data) <= SLICE_BYTES else data[:SLICE_BYTES], now)
        wait_seconds = self._rate.spend(messages, now)
        if wait_seconds or len(data) > SLICE_BYTES:
            self._hold(data[SLICE_BYTES:], wait_seconds)

    def eof_received(self) -> bool:
        """The client sends no more; the transport closes."""
        self._ws.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, with or without a goodbye."""
        self._transport = None
        if self._session is not None:
            self._session.gone()
            self._session = None
        self._door.closed(self)

    # --------------------------------------------------------------------------------------------- the session's client

    def send(self, event: ServerEvent) -> None:
        """Queue one message; a client that leaves too much unread loses its session."""
        transport, dialect = self._transport, self._dialect
        if transport is None or dialect is None or self._ws.state is not State.OPEN:
            return
        if self._choked and not isinstance(event, Failure):
            return
        if self._ws.writes:
            self._flush()
        transport.write(text_message(dialect.send(event)))
        self._check_unread(transport)

    def close(self, code: int) -> None:
        """Close after what was queued."""
        if self._ws.state is State.OPEN:
            self._ws.send_close(code, "" if code == errors.Code.NORMAL else CLOSE_REASON)
            self._flush()

    # ------------------------------------------------------------------------------------------------------------- time

    def tick(self, now: float) -> None:
        """See to what time alone brings about; called about once a second."""
        if self._closing_at is not None:
            if now - self._closing_at >= CLOSE_SECONDS:
                self.abort()
        elif self._session is None:
            if now - self._connected_at >= HANDSHAKE_SECONDS:
                self.abort()
        elif now - self._heard_at >= VANISHED_SECONDS:
            self.abort()
        elif now - max(self._heard_at, self._pinged_at) >= PING_SECONDS and self._ws.state is State.OPEN:
            self._pinged_at = now
            self._ws.send_ping(b"")
            self._flush()

    # --------------------------------------------------------------------------------------------------------- handling

    def _hold(self, rest: bytes, wait_seconds: float) -> None:
        """Let others have their turn before this client's next bytes."""
        transport = self._transport
        if transport is not None:
            self._held = rest
            transport.pause_reading()
            self._loop.call_later(wait_seconds, self._release)

    def _release(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        held, self._held = self._held, b""
        transport.resume_reading()
        if held:
            self.data_received(held)

    def _take(self, data: bytes, now: float) -> int:
        """Handle what arrived; answers how many messages it held."""
        messages = 0
        if self._session is not None:
            data, messages = self._plain_audio(data, self._session, now)
        elif self._ws.state is State.CONNECTING:
            head, data = self._request.split(data)
            self._feed(head, now)
        return messages + self._feed(data, now) if data else messages

    def _feed(self, data: bytes, now: float) -> int:
        ws = self._ws
        ws.receive_data(data)
        messages = 0
        for event in ws.events_received():
            messages += 1
            if isinstance(event, Frame):
                self._frame(event, now)
            elif isinstance(event, Request):
                self._receive_request(event, now)
        self._flush()
        return messages

    def _receive_request(self, request: Request, now: float) -> None:
        try:
            self._upgrade(request, now)
        except Exception as defect:  # noqa: BLE001  # see _report
            self._report(f"request: {type(defect).__name__}", defect)
            self.abort()

    def _plain_audio(self, data: bytes, session: Session, now: float) -> tuple[bytes, int]:
        """Handle the plain audio messages ``data`` begins with; answers the rest, for `websockets`, and their count."""
        ws = self._ws
        at = messages = 0
        # Nothing half read, nothing sent in fragments, and no close sent meanwhile.
        while ws.state is State.OPEN and ws.current_size is None and not ws.reader.buffer:
            message = audio_message(data, at)
            if message is None:
                break
            payload, at = message
            messages += 1
            try:
                session.audio(payload, now)
            except Exception as defect:  # noqa: BLE001  # see _contain
                self._contain(session, defect)
            if at == len(data):
                return b"", messages
        return (data[at:] if at else data), messages

    def _frame(self, frame: Frame, now: float) -> None:
        session = self._session
        if session is None or frame.opcode is Opcode.CLOSE:
            return
        try:
            if frame.opcode is Opcode.BINARY and frame.fin:
                session.audio(bytes(frame.data), now)
            else:
                self._other(frame, session, now)
        except errors.SessionError as error:
            session.fail(error)
        except Exception as defect:  # noqa: BLE001  # see _contain
            self._contain(session, defect)

    def _contain(self, session: Session, defect: Exception) -> None:
        """Invariant "contained": a defect ends the session it met and no other, and shows as what it is."""
        self._report(f"session {session.id}: {type(defect).__name__}", defect)
        session.fail(errors.internal())

    def _report(self, what: str, defect: Exception) -> None:
        """Log a defect without its own text, which may quote the client."""
        log.error("%s\n%s", what, "".join(traceback.format_tb(defect.__traceback__)))

    def _other(self, frame: Frame, session: Session, now: float) -> None:
        if frame.opcode in {Opcode.PING, Opcode.PONG}:
            return
        message = self._fragments.add(frame)
        if message is None:
            return
        if message.opcode is Opcode.TEXT:
            assert self._dialect is not None  # noqa: S101  # a session exists, so it was chosen
            session.receive(self._dialect.receive(message.data), now)
        else:
            session.audio(message.data, now)

    def _upgrade(self, request: Request, now: float) -> None:
        path = request.path.partition("?")[0]
        answer = self._door.answer(path, request)
        if answer is not None:
            self._ws.send_response(answer.response())
            return
        dialect = self._door.dialect(path)
        if dialect is None:
            self._ws.send_response(self._ws.reject(HTTPStatus.NOT_FOUND, "not found: expected /v3/ws\n"))
            return
        response = self._ws.accept(request)
        self._ws.send_response(response)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        self._dialect = dialect
        try:
            grant = self._door.authorize(request.headers, request.path)
            self._session = self._door.begin(dialect.request(request.path), grant, self, now)
        except errors.SessionError as error:
            log.info("client refused with %d %s", error.code, error.reason)
            self.send(Failure(error.code.value, error.message))
            self.close(error.code.value)
            return
        self._door.begun(now - self._connected_at)

    def _check_unread(self, transport: asyncio.Transport) -> None:
        if not self._choked and transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._choked = True
            # Not from inside the session's own call.
            self._loop.call_soon(self._end, errors.client_not_reading())

    def _end(self, error: errors.SessionError) -> None:
        if self._session is not None:
            self._session.fail(error)

    def _flush(self) -> None:
        pieces = self._ws.data_to_send()
        transport = self._transport
        if not pieces or transport is None:
            return
        if len(pieces) == 1 and pieces[0]:
            transport.write(pieces[0])
        else:
            transport.writelines([piece for piece in pieces if piece])
        self._check_unread(transport)
        ends = not pieces[-1]  # websockets' mark for the end of the stream
        if self._closing_at is None and (ends or self._ws.state is State.CLOSING):
            self._closing_at = self._loop.time()
        if not ends:
            return
        if self._session is not None:
            # Nothing can be said any more; the slot need not wait for the socket's end.
            self._session.gone()
        if self._ws.handshake_exc is not None and self._dialect is None and len(pieces) == 1:
            transport.write(BAD_REQUEST)
        if transport.can_write_eof():
            # Closing with unread input would reset the connection and take the last messages with it.
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        """Drop the socket without a word."""
        if self._transport is not None:
            self._transport.abort()
