"""The life of an ASR server: listen, warm up, serve, and leave without cutting a session that can still move."""

import asyncio
import gc
import logging
import uuid
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from streamstack_asr import calibration
from streamstack_asr.engines.base import AsrEngine, EngineCondition
from streamstack_asr.server import metrics
from streamstack_asr.server.describe import sessions_report
from streamstack_asr.server.service import Recognizer
from streamstack_asr.server.sessions import Shared
from streamstack_asr.server.slots import Slots
from streamstack_asr.server.tls import read_certificate
from streamstack_asr.server.totals import Totals
from streamstack_asr.settings import AsrSettings
from streamstack_common import process
from streamstack_common.calibration import Calibration
from streamstack_common.contracts.rpc import SERVICE
from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, authority, base_url
from streamstack_common.session_routes import add_session_routes

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 2.0
"""How long links may take to write what they owe after the last session was closed."""

GRPC_OPTIONS: Final = (
    # A second server on the same port is a mistake that must show.
    ("grpc.so_reuseport", 0),
    # Connections whose other end froze or vanished are closed, also when their calls were given up long before.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Gateways may ping once a second; the default, five minutes, would answer with GOAWAY and cut their sessions.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

SERVICES: Final = ("", SERVICE)
"""Names the health service answers for; probes of AssemblyAI's own images use the empty one."""


class AsrServer:
    """One server over one engine, which is prepared but not started.

    ``port`` and ``internal_port`` are known after ``listen``. Use: ``listen``, ``warm_up``, ..., ``stop``.
    """

    def __init__(
        self,
        settings: AsrSettings,
        engine: AsrEngine,
        credential: Credential,
        calibrated: Calibration | None = None,
    ) -> None:
        self.port = 0
        self.internal_port = 0
        self.slots = Slots(total=settings.max_open_streams, models=engine.describe().models)
        self.totals = Totals()
        self.instance_id = uuid.uuid4().hex
        self._settings = settings
        self._engine = engine
        self._calibrated = calibrated
        shared = Shared(engine=engine, slots=self.slots, totals=self.totals, instance_id=self.instance_id)
        self._recognizer = Recognizer(shared, credential)
        self._health = health.HealthServicer()
        self._grpc = grpc.aio.server(options=GRPC_OPTIONS)
        registry = metrics.registry(self.slots, self.totals, engine)
        self._http = InternalHttp(credential=credential, registry=registry, ready=self._why_not_ready)
        add_session_routes(
            self._http,
            retirement=self.slots.retirement,
            report=lambda: sessions_report(self.slots, self.instance_id, settings.revision),
            changed=self._admission_changed,
        )
        self._warm = False
        self._stopping = False
        self._telling: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Open both ports; health says NOT_SERVING and sessions are refused until ``warm_up`` is done.

        Raises TlsError, or OSError when a port cannot be opened.
        """
        settings = self._settings
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._grpc.add_generic_rpc_handlers((self._recognizer,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        self.port = self._open_port()
        await self._grpc.start()
        self.internal_port = await self._http.start(settings.host, settings.internal_port)

    async def warm_up(self) -> None:
        """Start the engine, then accept sessions. Raises EngineError."""
        await self._engine.start()
        calibration.check(self._calibrated, self._engine.describe())
        # What lives now lives as long as the process; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._warm = True
        self._engine.watch(self._engine_changed)
        self.slots.engine_changed(self._engine.condition)
        self.slots.warm()
        await self._tell_health()
        facts = self._engine.describe()
        logger.info("engine %s, models %s, %d slots", facts.engine, ", ".join(facts.models), self.slots.total)
        logger.info("U3Pro ASR Server ready!" if "u3-pro" in facts.models else "Ready to serve!")

    async def stop(self) -> None:
        """Give sessions the stop grace to leave, close the rest, then close the ports and the engine."""
        self._stopping = True
        self.slots.stop()
        await self._tell_health()
        self._please_move("the server is stopping")
        await self._wait_for_sessions(self._settings.stop_grace_seconds)
        self._recognizer.close_all()
        await self._grpc.stop(FLUSH_SECONDS)
        await self._engine.stop()
        await self._http.stop()

    def _open_port(self) -> int:
        settings = self._settings
        address = f"{_bracketed(settings.host)}:{settings.server_port}"
        certificate_file, key_file = settings.server_tls_cert_file, settings.server_tls_key_file
        try:
            if certificate_file is None or key_file is None:
                return self._grpc.add_insecure_port(address)
            certificate, key = read_certificate(certificate_file, key_file)
            return self._grpc.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
        except RuntimeError as error:
            raise OSError(f"gRPC port {address} cannot be opened: {error}") from error

    async def _wait_for_sessions(self, seconds: float) -> None:
        if self.slots.in_use == 0:
            return
        empty = asyncio.Event()

        def look() -> None:
            if self.slots.in_use == 0:
                empty.set()

        self.slots.subscribe(look)
        try:
            await asyncio.wait_for(empty.wait(), seconds)
        except TimeoutError:
            logger.warning("%d sessions did not leave within %g s and are closed", self.slots.in_use, seconds)
        finally:
            self.slots.unsubscribe(look)

    def _admission_changed(self) -> None:
        self.slots.admission_changed()
        if self.slots.retirement.retired:
            self._please_move("the server is retired")

    def _engine_changed(self) -> None:
        """Full or overloaded is not unready; without a process that serves, nothing is to be had here."""
        self.slots.engine_changed(self._engine.condition)
        self._telling = asyncio.ensure_future(self._tell_health())

    def _please_move(self, reason: str) -> None:
        self._recognizer.please_move(reason, round(self._settings.stop_grace_seconds * 1000))

    def _why_not_ready(self) -> str | None:
        if self._stopping:
            return "stopping"
        if not self._warm:
            return "warming up"
        down = self._engine.condition is EngineCondition.DOWN
        return f"the engine {self._engine.condition.value}" if down else None

    async def _tell_health(self) -> None:
        ready = self._why_not_ready() is None
        answers = health_pb2.HealthCheckResponse
        await self._set_health(answers.SERVING if ready else answers.NOT_SERVING)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in SERVICES:
            await self._health.set(name, status)


async def serve(settings: AsrSettings, engine: AsrEngine, calibrated: Calibration | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the slots were taken from ``calibrated``.

    Raises EngineError, CredentialError, TlsError, or OSError.
    """
    stop_requested = process.stop_requested()
    server = AsrServer(settings, engine, Credential(settings.credential_file), calibrated)
    try:
        await server.listen()
        if await _warm_up(server, stop_requested):
            process.announce(
                asr=authority(settings.host, server.port), internal=base_url(settings.host, server.internal_port)
            )
            await stop_requested.wait()
        logger.info("stopping")
    finally:
        await server.stop()


async def _warm_up(server: AsrServer, stop_requested: asyncio.Event) -> bool:
    """Warm up unless asked to stop first; tells whether the server is warm."""
    warming = asyncio.ensure_future(server.warm_up())
    asked = asyncio.ensure_future(stop_requested.wait())
    try:
        await asyncio.wait((warming, asked), return_when=asyncio.FIRST_COMPLETED)
        if not warming.done():
            return False
        await warming
        return True
    finally:
        warming.cancel()
        asked.cancel()
        await asyncio.gather(warming, asked, return_exceptions=True)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
