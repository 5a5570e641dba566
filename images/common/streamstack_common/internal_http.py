"""The internal HTTP port: metrics, probes and whatever a service adds; never through the ingress.

``/healthz`` and ``/readyz`` are for the kubelet, which cannot send a credential, and say nothing else. Everything else
wants the stack's bearer token, but for the paths a service names open; with TLS that knows a CA of clients, it wants
their certificate, too.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamstack_common.credential import Credential

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
MAX_BODY_BYTES: Final = 64 * 1024
_UNREADABLE: Final = (HttpProcessingError, web.RequestPayloadError)


def authority(host: str, port: int) -> str:
    """``host:port`` by which a process on the same machine reaches what listens on ``host``; IPv6 in brackets."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"


def base_url(host: str, port: int, *, secure: bool = False) -> str:
    """``http://...`` (``https://`` when secure) by which a process on the same machine reaches what listens there."""
    return f"{'https' if secure else 'http'}://{authority(host, port)}"


class TlsFilesError(ValueError):
    """Files for TLS cannot be used; the message names them and what was expected, never their content."""


def server_tls(certificate_file: Path, key_file: Path, client_ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later with a certificate, for :class:`InternalHttp`.

    Args:
        certificate_file: PEM, the chain.
        key_file: its key, PEM without a password.
        client_ca_file: callers need a certificate by one of these, PEM. The handshake takes those without, so that
            a kubelet's probes get to the open paths.

    Raises:
        TlsFilesError: a file is missing or unusable.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, certificate_file, key_file)
    if client_ca_file is not None:
        load_authorities(context, client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def load_certificate(context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
    """Have this side present a certificate. Raises TlsFilesError."""
    where = f"certificate {certificate_file} with key {key_file}"
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(certificate_file, key_file, password="")
    except ssl.SSLError as error:
        raise TlsFilesError(f"{where}: expected a PEM certificate and its PEM key without a password") from error
    except OSError as error:
        raise TlsFilesError(f"{where}: {error.strerror}") from error


def load_authorities(context: ssl.SSLContext, ca_file: Path) -> None:
    """Have the other side's certificate checked against these. Raises TlsFilesError."""
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise TlsFilesError(f"certificates of {ca_file}: expected PEM certificates") from error
    except OSError as error:
        raise TlsFilesError(f"certificates of {ca_file}: {error.strerror}") from error


class ListenError(OSError):
    """The port cannot be listened on; the message names it."""


class InternalHttp:
    """One listening internal port.

    Args:
        credential: what callers must present.
        registry: metrics to expose.
        ready: says why the service is not ready, or None when it is.
        alive: says why the service is to be restarted, or None while it works.
        open_paths: further paths that need no credential.
        tls: serve TLS; see :func:`server_tls`. None serves plain HTTP.
        max_body_bytes: longest body of a request; a longer one is answered 413.

    """

    def __init__(
        self,
        *,
        credential: Credential,
        registry: CollectorRegistry,
        ready: Callable[[], str | None],
        alive: Callable[[], str | None] = lambda: None,
        open_paths: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._alive = alive
        self._tls = tls
        certified = tls is not None and tls.verify_mode is not ssl.CERT_NONE
        self._app = web.Application(
            middlewares=[_require(credential, OPEN_PATHS | open_paths, certified=certified)],
            client_max_size=max_body_bytes,
        )
        # aiohttp's own router takes no routes once it serves, and never lets one go.
        self._handlers: dict[str, dict[str, Handler]] = {}
        self._app.router.add_route("*", "/{path:.*}", self._dispatch)
        self.get("/healthz", self._healthz)
        self.get("/readyz", self._readyz)
        self.get("/metrics", self._metrics)
        self._runner = _SealedRunner(self._app)

    def get(self, path: str, handler: Handler) -> None:
        """Serve GET ``path``, from now on; the last handler of a path counts."""
        self._handlers.setdefault(path, {}).update({"GET": handler, "HEAD": handler})

    def post(self, path: str, handler: Handler) -> None:
        """Serve POST ``path``, from now on; the last handler of a path counts."""
        self._handlers.setdefault(path, {})["POST"] = handler

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, chosen by the kernel when ``port`` is 0. Raises ListenError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ListenError(error.errno, f"{host} port {port}: {error.strerror}") from error
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=self._tls).start()
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and what is open on it."""
        await self._runner.cleanup()

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        methods = self._handlers.get(request.path)
        if methods is None:
            raise web.HTTPNotFound
        handler = methods.get(request.method)
        if handler is None:
            raise web.HTTPMethodNotAllowed(request.method, sorted(methods))
        return await handler(request)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _probe(self._alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _probe(self._ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _probe(reason: str | None) -> web.Response:
    return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")


def _require(credential: Credential, open_paths: frozenset[str], *, certified: bool) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in open_paths:
            return await handler(request)
        if certified and not request.get_extra_info("peercert"):
            return web.json_response({"error": "expected a client certificate"}, status=403)
        if credential.accepts(request.headers.get("Authorization")):
            return await handler(request)
        return web.json_response(
            {"error": "expected 'Authorization: Bearer <the stack's credential>'"},
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )

    return middleware


class _SealedRunner(web.AppRunner):
    """Runs an application on :class:`_Server`, without an access log.

    aiohttp repeats a request that it cannot read, headers and all, in its log and in its answer: a credential with a
    stray byte behind it would be written down (invariant "sealed"), by callers who need none to do it.
    """

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None)

    async def _make_server(self) -> web.Server:
        # Not public, but the only place where a runner of an application takes another server.
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory)


class _Server(web.Server):
    """Without aiohttp's debug mode, too: in that an answer 500 has a traceback."""

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]


class _Protocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, _UNREADABLE):
            return super().handle_error(request, status, exc, message)
        self.log_exception(exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        response = web.json_response({"error": "expected a request of HTTP/1.1"}, status=400)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        if isinstance(error, _UNREADABLE):
            # Anybody who reaches the port can send these, as many as they like.
            log.info("a request cannot be read: %s", type(error).__name__)
        else:
            super().log_exception(*args, **kw)
