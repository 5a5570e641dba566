import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from devcluster import control_plane as control_planes
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts
from devcluster.steps import Steps

Answer = str | int | asyncio.Event
Serving = Callable[[str, Answer | Iterator[Answer]], Awaitable[str]]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Start an HTTP server that answers one path, and 403 to everything else; returns its address.

    Answers are a body, a status, or an event that is waited for first; an iterator gives one after the other.
    """
    runners = []

    async def start(path: str, answers: Answer | Iterator[Answer]) -> str:
        async def answer(_request: web.Request) -> web.Response:
            what = next(answers) if isinstance(answers, Iterator) else answers
            if isinstance(what, asyncio.Event):
                await what.wait()
                return web.Response()
            return web.Response(status=what) if isinstance(what, int) else web.Response(text=what)

        async def refuse(_request: web.Request) -> web.Response:
            return web.json_response({"kind": "Status", "message": "you may not"}, status=403)

        app = web.Application()
        app.router.add_get(path, answer)
        app.router.add_get("/{path:.*}", refuse)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def own_control_plane() -> Iterator[ControlPlaneFacts]:
    """A control plane of the test's own, for what would disturb others: mark such a test with ``control_plane``."""
    cache, name = Cache(), f"pytest-{os.getpid()}-own"
    steps = Steps(cache.logs, out=io.StringIO())
    yield control_planes.up(name, cache=cache, steps=steps, die_with=os.getpid())
    control_planes.down(name, cache=cache, steps=steps)
