"""A way to the API server on which every request is written down, as RBAC sees it."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade"}


class Right(NamedTuple):
    """What RBAC grants: a verb on a resource, subresources with a slash (``deployments/scale``)."""

    group: str
    resource: str
    verb: str


@dataclass
class Recorded:
    """What was asked, and what of it was forbidden."""

    address: str
    used: set[Right] = field(default_factory=set)
    forbidden: set[Right] = field(default_factory=set)


@asynccontextmanager
async def recorded(server: str, *, authority: str) -> AsyncIterator[Recorded]:
    """Pass every request on to ``server``, whose certificate ``authority`` signed; watches are streamed."""
    context = ssl.create_default_context(cafile=authority)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        it = Recorded("")

        async def passed_on(request: web.Request) -> web.StreamResponse:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
            url = f"{server}{request.raw_path}"
            body = await request.read()
            async with session.request(request.method, url, data=body or None, headers=headers, ssl=context) as answer:
                _write_down(it, request, answer.status)
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                response = web.StreamResponse(status=answer.status, headers=kept)
                with contextlib.suppress(ConnectionResetError):  # who asked is gone
                    await response.prepare(request)
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                    await response.write_eof()
                return response

        app.router.add_route("*", "/{path:.*}", passed_on)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        it.address = f"http://{host}:{port}"
        try:
            yield it
        finally:
            await runner.cleanup()


def _write_down(it: Recorded, request: web.Request, status: int) -> None:
    right = _right(request)
    if right is None:
        return
    it.used.add(right)
    if right.verb == "patch" and status == 201:
        it.used.add(right._replace(verb="create"))  # server-side apply of what was not there is both
    if status == 403:
        it.forbidden.add(right)


def _right(request: web.Request) -> Right | None:
    """Read ``/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE``; None for what is no resource."""
    parts = request.path.strip("/").split("/")
    if parts[0] == "api":
        group, parts = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 1:
        group, parts = parts[1], parts[3:]
    else:
        return None
    if parts[:1] == ["namespaces"]:
        parts = parts[2:]
    if not parts:
        return None  # discovery
    resource = "/".join([parts[0], *parts[2:3]])
    if request.method != "GET":
        return Right(group, resource, VERBS[request.method])
    if request.query.get("watch") in {"1", "true"}:
        return Right(group, resource, "watch")
    return Right(group, resource, "get" if len(parts) > 1 else "list")
