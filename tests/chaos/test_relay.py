"""The line itself: what arrives, what is answered, and what its trouble does to both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from support.relay import Exchange, Relay, Trouble, relay


@dataclass
class Line:
    """A client, the line, and a server that counts and answers with a number."""

    relay: Relay
    client: aiohttp.ClientSession
    server: web.ServerRunner
    heard: list[bytes] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, body: bytes) -> bytes:
        async with self.client.post(f"{self.relay.url}/path?x=1", data=body, headers={"Authorization": "me"}) as answer:
            return await answer.read()


@asynccontextmanager
async def a_line() -> AsyncIterator[Line]:
    heard: list[bytes] = []

    async def serve(request: web.BaseRequest) -> web.Response:
        assert request.headers["Authorization"] == "me"
        assert request.path_qs == "/path?x=1"
        heard.append(await request.read())
        return web.Response(status=200 + len(heard), body=str(len(heard)))

    server = web.ServerRunner(web.Server(serve))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    asked: list[bytes] = []
    exchanges: list[Exchange] = []
    arrived = asyncio.Event()

    def note(_path: str, body: bytes) -> None:
        asked.append(body)
        arrived.set()

    target = f"http://127.0.0.1:{server.addresses[0][1]}"
    async with (
        relay(target, asked=note, answered=exchanges.append) as it,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client,
    ):
        yield Line(it, client, server, heard, asked, exchanges, arrived)
    await server.cleanup()


async def test_a_healthy_line_passes_requests_and_answers_as_they_are() -> None:
    async with a_line() as line:
        assert await line.post(b"one") == b"1"
        assert line.exchanges == [Exchange("/path?x=1", b"one", 201, b"1")]
        assert line.asked == line.heard == [b"one"]


async def test_a_cut_line_resets_and_passes_nothing_until_it_is_mended() -> None:
    async with a_line() as line:
        line.relay.begin(Trouble.CUT)
        with pytest.raises(aiohttp.ClientError):
            await line.post(b"lost")
        assert (line.heard, line.asked) == ([], [b"lost"])
        await line.relay.mend()
        assert await line.post(b"again") == b"1"


async def test_a_silent_line_answers_nothing_and_what_went_into_it_is_lost() -> None:
    async with a_line() as line:
        line.relay.begin(Trouble.SILENT)
        waiting = asyncio.create_task(line.post(b"lost"))
        await line.arrived.wait()
        assert not waiting.done()
        await line.relay.mend()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert line.heard == []


async def test_a_lost_answer_is_known_to_the_observer_alone() -> None:
    async with a_line() as line:
        line.relay.begin(Trouble.ANSWERS_LOST)
        with pytest.raises(aiohttp.ClientError):
            await line.post(b"arrived")
        assert line.heard == [b"arrived"]
        assert [exchange.answer for exchange in line.exchanges] == [b"1"]


async def test_a_doubling_line_lets_every_post_arrive_twice() -> None:
    async with a_line() as line:
        line.relay.begin(Trouble.TWICE)
        assert await line.post(b"same") == b"2"
        assert line.heard == [b"same", b"same"]


async def test_late_copies_come_behind_what_was_sent_after_them() -> None:
    async with a_line() as line:
        line.relay.begin(Trouble.LATE_COPIES)
        await line.post(b"first")
        await line.post(b"second")
        await line.relay.mend()
        assert line.heard == [b"first", b"second", b"first", b"second"]


async def test_a_line_to_nobody_resets() -> None:
    async with a_line() as line:
        line.relay.target = None
        with pytest.raises(aiohttp.ClientError):
            await line.post(b"lost")
