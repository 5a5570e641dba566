"""The internal HTTP port: metrics, probes and whatever a service adds; never through the ingress.

``/healthz`` and ``/readyz`` are for the kubelet, which cannot send a credential, and say nothing else. Everything else
wants the stack's bearer token, but for the paths a service names open.
"""

import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamstack_common.credential import Credential

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
MAX_BODY_BYTES: Final = 64 * 1024


def authority(host: str, port: int) -> str:
    """``host:port`` by which a process on the same machine reaches what listens on ``host``; IPv6 in brackets."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


def base_url(host: str, port: int) -> str:
    """``http://...`` by which a process on the same machine reaches what listens on ``host``."""
    return f"http://{authority(host, port)}"


class InternalHttp:
    """One listening internal port.

    Args:
        credential: what callers must present.
        registry: metrics to expose.
        ready: says why the service is not ready, or None when it is.
        alive: says why the service is to be restarted, or None while it works.
        open_paths: further paths that need no credential.

    """

    def __init__(
        self,
        *,
        credential: Credential,
        registry: CollectorRegistry,
        ready: Callable[[], str | None],
        alive: Callable[[], str | None] = lambda: None,
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._alive = alive
        self._app = web.Application(
            middlewares=[_require(credential, OPEN_PATHS | open_paths)], client_max_size=MAX_BODY_BYTES
        )
        self._app.router.add_get("/healthz", self._healthz)
        self._app.router.add_get("/readyz", self._readyz)
        self._app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(self._app, access_log=None)

    def get(self, path: str, handler: Handler) -> None:
        """Serve GET ``path``."""
        self._app.router.add_get(path, handler)

    def post(self, path: str, handler: Handler) -> None:
        """Serve POST ``path``."""
        self._app.router.add_post(path, handler)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, chosen by the kernel when ``port`` is 0."""
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        await web.SockSite(self._runner, listener).start()
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and what is open on it."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _probe(self._alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _probe(self._ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _probe(reason: str | None) -> web.Response:
    return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")


def _require(credential: Credential, open_paths: frozenset[str]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in open_paths or credential.accepts(request.headers.get("Authorization")):
            return await handler(request)
        return web.json_response(
            {"error": "expected 'Authorization: Bearer <the stack's credential>'"},
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )

    return middleware
