"""The port clients reach: sockets, TLS, who speaks on which path, and the clock of everything behind it."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request

from streamstack_gateway.dialects.events import Dialect, SessionRequest
from streamstack_gateway.dialects.v3 import V3
from streamstack_gateway.dialects.v3.authorization import authorize
from streamstack_gateway.edge import answers
from streamstack_gateway.edge.answers import Answer
from streamstack_gateway.edge.connection import Connection
from streamstack_gateway.session.ports import Client
from streamstack_gateway.session.registry import Sessions
from streamstack_gateway.session.session import Session
from streamstack_gateway.tokens import Grant, Tokens

V3_PATHS: Final = frozenset({"/", "/v3/ws"})
TICK_SECONDS: Final = 0.1
SOCKET_TICKS: Final = 10
"""Sockets see the time every so many ticks: their limits are tens of seconds."""
BACKLOG: Final = 4_096
"""Connections the kernel may hold before they are accepted: a reconnect storm arrives within milliseconds."""


def _authorization(headers: Headers) -> str | None:
    """The header's value; the first, should a client send several."""
    given = headers.get_all("Authorization")
    return given[0] if given else None


class TlsError(ValueError):
    """The certificate or the key cannot be used; the message names the file."""


class EdgeServer:
    """Implements ``edge.connection.Door``."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        unready: Callable[[], str | None],
        observe_begin: Callable[[float], None],
        max_connections: int,
        tokens: Tokens | None,
    ) -> None:
        self._sessions = sessions
        self._unready = unready
        self.begun = observe_begin
        self._max_connections = max_connections
        self._tokens = tokens
        self._connections: set[Connection] = set()
        self._v3 = V3()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._tick_due = 0.0
        self._idle = asyncio.Event()

    @property
    def connections(self) -> int:
        """Open sockets, with or without a session."""
        return len(self._connections)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port, chosen by the kernel when ``port`` is 0."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._server = await loop.create_server(lambda: Connection(self, loop), sock=listener, ssl=tls, backlog=BACKLOG)
        self._tick_due = loop.time() + TICK_SECONDS
        self._ticker = loop.call_at(self._tick_due, self._tick, loop)
        bound: int = listener.getsockname()[1]
        return bound

    async def flushed(self) -> None:
        """Wait until the sockets of ended sessions are closed; their own limits bound it."""
        self._idle.clear()
        if not self._connections:
            return
        await self._idle.wait()

    async def stop(self) -> None:
        """Close the port; sockets that are still open get no further word."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    # --------------------------------------------------------------------------------------------------------- the door

    def begin(self, request: SessionRequest, grant: Grant, client: Client, now: float) -> Session:
        """See ``Sessions.begin``."""
        return self._sessions.begin(request, grant, client, now)

    def authorize(self, headers: Headers, target: str) -> Grant:
        """See ``dialects.v3.authorization``."""
        return authorize(_authorization(headers), target, tokens=self._tokens, now_seconds=time.time())

    def dialect(self, path: str) -> Dialect | None:
        """V3 is all there is yet."""
        return self._v3 if path in V3_PATHS else None

    def answer(self, path: str, request: Request) -> Answer | None:
        """Health, and temporary tokens."""
        if path == answers.HEALTH_PATH:
            return answers.health(self._unready())
        if path == answers.TOKEN_PATH:
            return answers.token(_authorization(request.headers), request.path, self._tokens, time.time())
        return None

    def opened(self, connection: Connection) -> bool:
        """Count a socket; False when there are too many."""
        self._connections.add(connection)
        return len(self._connections) <= self._max_connections

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._idle.set()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late_seconds = now - self._tick_due
        self._tick_due = now + TICK_SECONDS
        self._ticker = loop.call_at(self._tick_due, self._tick, loop)
        self._sessions.tick(now, late_seconds=late_seconds)
        self._sessions.relieve()
        self._ticks += 1
        if self._ticks % SOCKET_TICKS == 0:
            for connection in list(self._connections):
                connection.tick(now)


def tls_context(certificate_file: str, key_file: str) -> ssl.SSLContext:
    """Server side TLS from PEM files. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key is an error, not a question on a terminal nobody watches.
        context.load_cert_chain(certificate_file, key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"TLS certificate {certificate_file} with key {key_file}: {error}") from error
    return context
