"""Connections that say nothing, and more requests than are taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from fastapi import FastAPI

from streamstack_license_authority import crowds
from streamstack_license_authority.crowds import Bounded, PatientH11
from support.service import call
from support.waiting import eventually

HALF_A_HEADER = b"POST /work HTTP/1.1\r\nHost: a\r\n"


class Server(uvicorn.Server):
    """Takes one request after another to ``/work``, which ends when told to."""

    def __init__(self) -> None:
        self.at_work = 0
        self.done = asyncio.Event()
        app = FastAPI()
        app.add_api_route("/healthz", self.alive)
        app.add_api_route("/work", self.work, methods=["GET"])
        super().__init__(uvicorn.Config(Bounded(app), port=0, http=PatientH11, lifespan="off", log_config=None))

    async def alive(self) -> str:
        return "ok"

    async def work(self) -> str:
        self.at_work += 1
        await self.done.wait()
        return "done"

    async def has_started(self) -> bool:
        return self.started

    async def works(self) -> bool:
        return self.at_work > 0

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    async def get(self, path: str) -> tuple[int, object]:
        return await call(f"http://127.0.0.1:{self.port}{path}", token=None)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    task = asyncio.create_task(server._serve())
    try:
        await eventually(server.has_started)
        yield server
    finally:
        server.done.set()
        server.should_exit = True
        await task


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Everything that came before the end."""
    received = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(30):
            while piece := await reader.read(1000):
                received += piece
    return received


@pytest.mark.parametrize("said", [b"", HALF_A_HEADER], ids=["nothing", "half a header"])
async def test_who_does_not_finish_a_header_is_closed_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(crowds, "HEADER_SECONDS", 0.3)
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        assert await until_closed(reader) == b""
        writer.close()


async def test_half_a_header_after_an_answer_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "HEADER_SECONDS", 0.3)
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b'"ok"')
        writer.write(HALF_A_HEADER)
        assert await until_closed(reader) == b""
        writer.close()


async def test_a_request_may_take_longer_than_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "HEADER_SECONDS", 0.3)
    async with serving() as server:
        working = asyncio.create_task(server.get("/work"))
        await eventually(server.works)
        silent, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until_closed(silent)  # it came later, and its time is over
        writer.close()
        server.done.set()
        assert await working == (200, "done")


async def test_in_a_crowd_of_silent_connections_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(crowds, "HEADER_SECONDS", 3600)
    async with serving() as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        for _, writer in silent:
            writer.write(HALF_A_HEADER)
        assert await server.get("/healthz") == (200, "ok")
        assert await until_closed(silent[0][0]) == b""
        assert not silent[2][0].at_eof()
        for _, writer in silent:
            writer.close()


async def test_in_a_crowd_of_requests_probes_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "MAX_REQUESTS", 1)
    async with serving() as server:
        working = asyncio.create_task(server.get("/work"))
        await eventually(server.works)
        assert await server.get("/healthz") == (200, "ok")
        status, body = await server.get("/work")
        assert (status, body) == (503, {"error": "too many requests at once; expected to be tried again later"})
        server.done.set()
        assert await working == (200, "done")
        assert await server.get("/work") == (200, "done")
