"""What a crowd may take up: connections that say nothing give way, and probes are answered in any crowd."""

import asyncio
from typing import Any, Final

import h11
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 2000
"""Beyond them, the one that has waited longest for its header is closed."""
MAX_REQUESTS: Final = 2000
"""At once; beyond them, probes alone are answered."""
HEADER_SECONDS: Final = 10
"""For all of a request's header, from the connection on, or from the first byte after an answer."""
PROBES: Final = frozenset({"/healthz", "/readyz"})


class PatientH11(H11Protocol):
    """uvicorn's protocol, which waits for a header, but not for ever."""

    waits: asyncio.TimerHandle | None = None
    """Ends the wait for a header; None while none is awaited."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Wait for the first header."""
        super().connection_made(transport)
        self.waits = self.loop.call_later(HEADER_SECONDS, self.give_way)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Wait on, but not anew, while no header is whole."""
        super().data_received(data)
        # Pipelined, the next header is read when the answer is done: until then it is not awaited.
        if self.conn.their_state is not h11.IDLE:
            self._waits_no_more()
        elif self.waits is None:
            self.waits = self.loop.call_later(HEADER_SECONDS, self.give_way)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._waits_no_more()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close without an answer: nothing was asked."""
        self._waits_no_more()
        self.transport.abort()

    def _waits_no_more(self) -> None:
        if self.waits is not None:
            self.waits.cancel()
            self.waits = None

    def _make_room(self) -> None:
        waiting = [(one.waits.when(), one) for one in self.connections if isinstance(one, PatientH11) and one.waits]
        min(waiting, key=lambda found: found[0])[1].give_way()


class Bounded:
    """An application that takes so many requests at once; probes are no part of the crowd."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or answer 503 in the API's form."""
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
        elif self._under_way >= MAX_REQUESTS:
            await _too_many(scope, receive, send)
        else:
            self._under_way += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._under_way -= 1


_too_many: Any = JSONResponse({"error": "too many requests at once; expected to be tried again later"}, status_code=503)
