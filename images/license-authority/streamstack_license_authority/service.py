"""The license authority as a process: puts the pieces together, serves until asked to stop."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import uvicorn

from streamstack_common import process
from streamstack_common.credential import Credential
from streamstack_common.internal_http import authority
from streamstack_license_authority.app import build_app
from streamstack_license_authority.crowds import Bounded, PatientH11
from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.metrics import Metrics
from streamstack_license_authority.orphans import watch_orphans
from streamstack_license_authority.parts import Parts
from streamstack_license_authority.settings import LicenseAuthoritySettings
from streamstack_license_authority.signing import SigningKeys

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 20
"""For answers that are under way when the process is asked to stop."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    def __init__(self, config: uvicorn.Config, *, url: str) -> None:
        super().__init__(config)
        self._url = url

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("license authority serves at %s", self._url)
        process.announce(license_authority=self._url)


def tls_context(settings: LicenseAuthoritySettings) -> ssl.SSLContext | None:
    """Return what TLS is spoken with, None without a certificate.

    Raises:
        OSError: a file cannot be read, or is none of a certificate and its key (``ssl.SSLError`` is one).

    """
    if settings.tls_certificate_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
    return context


def listen(settings: LicenseAuthoritySettings) -> socket.socket:
    """Return the socket to serve on.

    Raises:
        OSError: the address is none of this machine's, or taken (``socket.gaierror`` is one).

    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


async def serve(
    settings: LicenseAuthoritySettings,
    listener: socket.socket,
    *,
    credential: Credential,
    keys: SigningKeys,
    database: Database,
    tls: ssl.SSLContext | None,
) -> None:
    """Serve until SIGTERM or SIGINT; answers that are under way then are finished."""
    stop = process.stop_requested()
    metrics = Metrics()
    with listener:
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://{authority(settings.host, listener.getsockname()[1])}"
        app = build_app(
            Parts(
                database=database,
                keys=keys,
                metrics=metrics,
                public_url=settings.public_url or url,
                is_admin=credential.accepts,
            )
        )
        server = _Server(_configured(Bounded(app), tls), url=url)
        async with asyncio.TaskGroup() as tasks:
            # Breaking, each takes the process down: a ledger that nobody looks after is worse than none.
            beside = [
                tasks.create_task(watch_orphans(database, metrics, after_seconds=settings.orphan_after_seconds)),
                tasks.create_task(_stop(server, stop)),
            ]
            await server.serve([listener])
            for task in beside:
                task.cancel()
    log.info("license authority stopped")


async def _stop(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _configured(app: Bounded, tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=PatientH11,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
