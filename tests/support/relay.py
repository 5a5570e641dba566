"""A line between two pieces that speak HTTP, on which a network's faults are played: requests and answers as a whole.

What passes is shown to an observer, so that a test knows what was answered whatever became of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import aiohttp
from aiohttp import web

PASSED_ON = ("Authorization", "Content-Type")
ANSWER_SECONDS = 60.0
"""Beyond every caller's patience: a server that is stopped answers when it goes on."""


class Trouble(Enum):
    """What a line does to requests while it is in trouble."""

    CUT = "connections are reset"
    SILENT = "requests vanish and nothing is answered"
    ANSWERS_LOST = "requests arrive, answers do not"
    TWICE = "every POST arrives twice"
    LATE_COPIES = "every POST arrives again when the trouble is over"
    SLOW = "requests wait"


SLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that arrived and was answered. The caller may never have heard it."""

    path: str
    body: bytes
    status: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Relay:
    """One line. ``target`` is the base URL at the other end, None while nobody is there."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        *,
        asked: Callable[[str, bytes], None],
        answered: Callable[[Exchange], None],
    ) -> None:
        self.target: str | None = None
        self.url = ""
        self._client = client
        self._asked = asked
        self._answered = answered
        self._trouble: Trouble | None = None
        self._over = asyncio.Event()
        self._late: list[_Request] = []

    def begin(self, trouble: Trouble) -> None:
        """Be in trouble until :meth:`mend`."""
        self._trouble = trouble
        self._over.clear()

    async def mend(self) -> None:
        """Pass everything again; first the copies that are late."""
        self._trouble = None
        self._over.set()
        late, self._late = self._late, []
        for request in late:
            await self._forward(request)

    async def handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on, or do to it what the trouble says."""
        headers = {name: incoming.headers[name] for name in PASSED_ON if name in incoming.headers}
        request = _Request(incoming.method, incoming.path_qs, headers, await incoming.content.read())
        trouble = self._trouble
        self._asked(request.path, request.body)
        if trouble is Trouble.SILENT:
            await self._over.wait()
        elif trouble is Trouble.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        passed = None
        if trouble not in {Trouble.CUT, Trouble.SILENT}:
            passed = await self._forward(request)
        if request.method == "POST" and trouble is Trouble.TWICE:
            passed = await self._forward(request)
        elif request.method == "POST" and trouble is Trouble.LATE_COPIES:
            self._late.append(request)
        if passed is None or trouble is Trouble.ANSWERS_LOST:
            return _reset(incoming)
        return passed

    async def _forward(self, request: _Request) -> web.Response | None:
        """The answer of the other end; None when there is none."""
        if self.target is None:
            return None
        try:
            async with self._client.request(
                request.method, self.target + request.path, headers=request.headers, data=request.body
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        self._answered(Exchange(request.path, request.body, response.status, answer))
        return web.Response(status=response.status, body=answer, content_type=response.content_type)


def _reset(incoming: web.BaseRequest) -> web.Response:
    """End the connection without a word; the answer goes nowhere."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response()


def _nothing(*_: object) -> None:
    return None


@asynccontextmanager
async def relay(
    target: str | None = None,
    *,
    asked: Callable[[str, bytes], None] = _nothing,
    answered: Callable[[Exchange], None] = _nothing,
) -> AsyncIterator[Relay]:
    """A line on a port of the kernel's choice. ``asked`` sees path and body of every request, whatever becomes of it;
    ``answered`` every exchange with the other end."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
        it = Relay(client, asked=asked, answered=answered)
        it.target = target
        runner = web.ServerRunner(web.Server(it.handle), shutdown_timeout=0.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        it.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield it
        finally:
            await it.mend()
            await runner.cleanup()
