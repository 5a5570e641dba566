"""The gateway put together: settings in, running ports out, and a stop that lets live sessions finish."""

import asyncio
import gc
import logging
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_common.process import announce
from streamstack_common.session_routes import add_session_routes
from streamstack_gateway import errors
from streamstack_gateway.edge.server import EdgeServer, tls_context
from streamstack_gateway.internal.metrics import SessionCollector, begin_histogram
from streamstack_gateway.license.peers import Peers, parse_peers
from streamstack_gateway.license.poller import LicensePoller
from streamstack_gateway.license.proxies import Proxies, parse_endpoints
from streamstack_gateway.license.share import LicenseShare
from streamstack_gateway.license.tls import ProxyTls, ProxyTlsFiles
from streamstack_gateway.models import ModelMap
from streamstack_gateway.placement import create_pools
from streamstack_gateway.placement.config import PlacementConfig, parse_pools
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import Limits
from streamstack_gateway.session.registry import Sessions
from streamstack_gateway.settings import GatewaySettings
from streamstack_gateway.tokens import TokenKeyError, Tokens
from streamstack_gateway.usage.reporter import ReportPolicy, UsageReporter

log = logging.getLogger(__name__)

GC_THRESHOLDS = (10_000, 50, 20)
"""Python's defaults (700, 10, 10) walk young objects thousands of times a second at a thousand sessions, and all
sessions, for 11 ms, far too often; what is left in cycles is little."""


class Gateway:
    """One gateway process. Raises ValueError kinds that name the setting when it cannot be put together."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        credential = Credential(settings.credential_file)
        placement = PlacementConfig(
            parse_pools(settings.pools),
            balancer=settings.asr_endpoint,
            secure=settings.asr_secure,
            ca_file=Path(settings.asr_ca_file) if settings.asr_ca_file else None,
        )
        self._pools = create_pools(placement, credential=credential, registry=registry)
        state_dir = Path(settings.state_dir) if settings.state_dir else None
        proxies = _license_proxies(settings, credential)
        self._license = LicensePoller(proxies, registry, state_file=state_dir / "license.json" if state_dir else None)
        self._peers = Peers(parse_peers(settings.gateway_peers))
        share = LicenseShare(lambda: self._license.terms, self._peers.gateways, registry)
        self._usage = UsageReporter(
            proxies,
            registry,
            billing=lambda: self._license.terms.billing,
            spool_file=state_dir / "usage.sqlite3" if state_dir else None,
            policy=ReportPolicy(interval_seconds=settings.usage_interval_seconds),
        )
        budget = ByteBudget(settings.buffer_megabytes << 20)
        self._sessions = Sessions(
            models=ModelMap.configure(
                {pool.model_version: pool.name for pool in placement.pools},
                aliases=settings.model_aliases,
                fallbacks=settings.model_fallbacks,
                default=settings.model_default,
            ),
            pools=self._pools,
            budget=budget,
            limits=Limits(max_session_seconds=settings.max_session_seconds, asr_wait_seconds=settings.asr_wait_seconds),
            capacity=settings.session_capacity,
            max_sessions=settings.session_limit,
            revision=settings.revision,
            license_refusal=self._license.admits,
            allowance=share.allowance,
            meter=self._usage,
        )
        self._edge = EdgeServer(
            self._sessions,
            unready=self._never_licensed,
            observe_begin=begin_histogram(registry).observe,
            max_connections=settings.max_connections,
            tokens=_tokens(settings.token_key_file),
        )
        registry.register(SessionCollector(self._sessions, budget, lambda: self._edge.connections))
        self._internal = InternalHttp(credential=credential, registry=registry, ready=self._unready)
        add_session_routes(
            self._internal,
            retirement=self._sessions.retirement,
            report=self._sessions.report,
            changed=self._log_admission,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set and the last session is over, or the grace is."""
        settings = self._settings
        tls = None
        if settings.tls_certificate_file and settings.tls_key_file:
            tls = tls_context(settings.tls_certificate_file, settings.tls_key_file)
        await self._license.start()
        await self._usage.start()
        await self._peers.start()
        await self._pools.start()
        internal_port = await self._internal.start(settings.host, settings.internal_port)
        port = await self._edge.start(settings.host, settings.port, tls)
        # What start-up made lives as long as the process: it need not be walked by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        announcing = asyncio.create_task(self._announce(port, internal_port, secure=tls is not None))
        await stop.wait()
        announcing.cancel()
        await self._drain()
        await self._edge.stop()
        await self._pools.stop()
        await self._peers.stop()
        await self._license.stop()
        await self._internal.stop()

    async def _announce(self, port: int, internal_port: int, *, secure: bool) -> None:
        """Say where it listens, once sessions can be admitted."""
        settings = self._settings
        await self._license.known()
        gateway = base_url(settings.host, port).replace("http", "wss" if secure else "ws", 1)
        internal = base_url(settings.host, internal_port)
        log.info("listening on %s, internal on %s", gateway, internal)
        announce(gateway=gateway, gateway_internal=internal)

    async def _drain(self) -> None:
        """Let sessions end by themselves and have their use delivered, both within the grace."""
        self._sessions.retirement.stop()
        grace_seconds = self._settings.grace_seconds
        until = time.monotonic() + grace_seconds
        log.info("stopping: %d sessions have %.0f seconds to finish", len(self._sessions), grace_seconds)
        try:
            await asyncio.wait_for(self._sessions.empty(), grace_seconds)
        except TimeoutError:
            log.warning("ending %d sessions: the grace is over", len(self._sessions))
            self._sessions.end_all(errors.stopping())
            await self._edge.flushed()
        await self._usage.stop(until - time.monotonic())

    def _never_licensed(self) -> str | None:
        return None if self._license.ever_known else "no word from the license proxy yet"

    def _unready(self) -> str | None:
        """Full is not unready: a ReplicaSet deletes unready pods first (DESIGN 5)."""
        if not self._sessions.retirement.accepting:
            return "takes no new sessions"
        return self._never_licensed()

    def _log_admission(self) -> None:
        log.info("admission is %s, generation %d", self._sessions.admission.value, self._sessions.retirement.generation)


def _license_proxies(settings: GatewaySettings, credential: Credential) -> Proxies:
    files = ProxyTlsFiles(
        settings.license_ca_file, settings.license_client_certificate_file, settings.license_client_key_file
    )
    tls = ProxyTls(files) if settings.is_license_secure else None
    return Proxies(parse_endpoints(settings.license_endpoint), credential, tls)


def _tokens(key_file: str | None) -> Tokens | None:
    if key_file is None:
        return None
    try:
        return Tokens(Path(key_file).read_bytes().strip())
    except (OSError, TokenKeyError) as error:
        raise TokenKeyError(f"token key file {key_file}: {error}") from error
