from collections.abc import AsyncIterator

import pytest
from aiohttp import web


@pytest.fixture
async def aiohttp_refusal() -> AsyncIterator[str]:
    """Address of an HTTP server that refuses everything with 403."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 403}, status=403)

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
