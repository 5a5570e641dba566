"""The license proxy as a process: puts the pieces together, serves until asked to stop."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from streamstack_common import process
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_common.usage import MAX_USAGE_BYTES
from streamstack_license_proxy.api import HEALTH_PATH, LicenseApi
from streamstack_license_proxy.authority import Authority
from streamstack_license_proxy.checkin_memory import MemoryFile
from streamstack_license_proxy.checkins import CheckIns
from streamstack_license_proxy.clock import SystemClock
from streamstack_license_proxy.journal.errors import JournalError
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.parts import Parts
from streamstack_license_proxy.self_termination import end_when_away
from streamstack_license_proxy.settings import LicenseProxySettings
from streamstack_license_proxy.tls_renewal import look_for_renewals
from streamstack_license_proxy.together import together
from streamstack_license_proxy.usage_side import UsageSide
from streamstack_license_proxy.watch import LicenseWatch

log = logging.getLogger(__name__)


class StartRefusedError(Exception):
    """The license cannot be served with these settings; the message says what was expected."""


async def serve(settings: LicenseProxySettings, parts: Parts) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartRefusedError: billing by usage, and it cannot be done.
        AuthorityAwayError: see ``USAGE_SELF_TERMINATE_MINUTES``.

    """
    stop = process.stop_requested()
    async with _put_together(settings, parts) as proxy:
        await process.run_until(stop, proxy.begin())
        if not stop.is_set():
            await proxy.serve(settings, stop)
    log.info("license proxy stopped")


@contextlib.asynccontextmanager
async def _put_together(settings: LicenseProxySettings, parts: Parts) -> AsyncIterator["LicenseProxy"]:
    """Everything that needs a running event loop, and its end."""
    registry = CollectorRegistry()
    _say_what_is_lax(settings, parts, registry)
    interval = settings.checkin_interval_seconds
    memory_file = MemoryFile(parts.state_dir)
    keeper = LicenseKeeper(
        LicenseWatch(settings.license_file_path, parts.keyring),
        memory_file,
        registry,
        clock=SystemClock(),
        checkin_setting_seconds=interval,
    )

    def endpoint() -> str | None:
        online = keeper.online()
        return settings.license_authority_endpoint or (None if online is None else online[0].authority)

    def unready() -> str | None:
        return keeper.unready() or usage.unready()

    http = InternalHttp(
        credential=parts.credential,
        registry=registry,
        ready=unready,
        open_paths=frozenset({HEALTH_PATH}),
        tls=None if parts.server_tls is None else parts.server_tls.context,
        max_body_bytes=MAX_USAGE_BYTES,
    )
    async with Authority(
        endpoint=endpoint,
        api_key=parts.api_key,
        tls=parts.authority_tls.context,
        insecure=settings.license_authority_insecure,
    ) as authority:
        usage = UsageSide(
            state_dir=parts.state_dir,
            retention_days=settings.journal_retention_days,
            keeper=keeper,
            authority=authority,
            keyring=parts.keyring,
            registry=registry,
            http=http,
        )
        check_ins = CheckIns(keeper, authority, parts.keyring, registry, setting_seconds=interval)
        LicenseApi(keeper, extra_keys=parts.keyring.extra).attach(http)
        try:
            yield LicenseProxy(parts, keeper, check_ins, usage, http)
        finally:
            await usage.close()
            memory_file.close()


def _say_what_is_lax(settings: LicenseProxySettings, parts: Parts, registry: CollectorRegistry) -> None:
    Gauge("streamstack_license_extra_keys", "1 where keys beside the vendor's are accepted", registry=registry).set(
        float(parts.keyring.extra)
    )
    if settings.license_authority_insecure:
        log.warning("LICENSE_AUTHORITY_INSECURE: license and API key may go to the license authority in the clear")


@dataclass(frozen=True, slots=True)
class LicenseProxy:
    """A proxy that is put together."""

    parts: Parts
    keeper: LicenseKeeper
    check_ins: CheckIns
    usage: UsageSide
    http: InternalHttp

    async def begin(self) -> None:
        """Check in before anything is answered: gateways are told what the authority says, not what it said last.

        Raises:
            StartRefusedError: billing by usage, and there is no journal, no authority or no key for it.

        """
        await self.keeper.start()
        if self.keeper.online() is not None and self.parts.state_dir is None:
            log.warning("no STATE_DIR: a restart will not know of check-ins")
        self.usage.attach()
        try:
            await self.usage.open_where_needed()
        except JournalError as error:
            if self.keeper.bills_usage:
                raise StartRefusedError(str(error)) from error
            log.warning("%s", error)
        # A license that is Failed already is told, whoever answers: that closes admission, an ended proxy does not.
        in_force = self.keeper.standing().failure is None
        problem = await self.check_ins.attempt()
        if self.keeper.bills_usage and in_force and problem is not None:
            raise StartRefusedError(f"billing by usage starts with a check-in, and it failed: {problem}")

    async def serve(self, settings: LicenseProxySettings, stop: asyncio.Event) -> None:
        """Serve until ``stop``."""
        port = await self.http.start(settings.host, settings.http_port)
        own_tls = self.parts.server_tls
        sides = [self.parts.authority_tls, *(() if own_tls is None else (own_tls,))]
        work = [self.keeper.run(), self.check_ins.run(), self.usage.run(), look_for_renewals(sides)]
        minutes = settings.usage_self_terminate_minutes
        if minutes is not None:
            work.append(end_when_away(self._away_seconds, minutes=minutes))
        try:
            log.info("license proxy serves on port %d", port)
            process.announce(license_proxy=base_url(settings.host, port, secure=own_tls is not None))
            await process.run_until(stop, together(*work))
        finally:
            await self.http.stop()

    def _away_seconds(self) -> float:
        """How long nobody was there to report usage to."""
        return self.check_ins.away_seconds() if self.keeper.bills_usage else 0.0
