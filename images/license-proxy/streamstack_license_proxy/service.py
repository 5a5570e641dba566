"""The license proxy as a process: puts the pieces together, serves until asked to stop."""

import logging

from prometheus_client import CollectorRegistry

from streamstack_common import process
from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_common.keyring import Keyring, KeyringError, parse_jwks
from streamstack_license_proxy.api import HEALTH_PATH, LicenseApi, register_metrics
from streamstack_license_proxy.settings import LicenseProxySettings
from streamstack_license_proxy.vendor_keys import vendor_keyring
from streamstack_license_proxy.watch import LicenseWatch

log = logging.getLogger(__name__)


def load_keyring(settings: LicenseProxySettings) -> Keyring:
    """Return the vendor's keys, and those of ``LICENSE_EXTRA_KEYS_FILE`` where it is set.

    Raises:
        KeyringError: the file was asked for and cannot be used.

    """
    ring, path = vendor_keyring(), settings.license_extra_keys_file
    if path is None:
        return ring
    source = f"LICENSE_EXTRA_KEYS_FILE {path}"
    try:
        more = parse_jwks(path.read_bytes(), source=source)
    except OSError as error:
        raise KeyringError(f"{source}: {error.strerror}") from error
    log.warning("%s: licenses signed with %s are accepted beside the vendor's", source, ", ".join(sorted(more)))
    return ring.with_extra(more)


async def serve(settings: LicenseProxySettings, *, credential: Credential, keyring: Keyring) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = process.stop_requested()
    watch = LicenseWatch(settings.license_file_path, keyring)
    await watch.look()

    registry = CollectorRegistry()
    register_metrics(registry, watch, extra_keys=keyring.extra)
    # A Failed license is told, not hidden: the process is ready whenever it can answer.
    http = InternalHttp(
        credential=credential, registry=registry, ready=lambda: None, open_paths=frozenset({HEALTH_PATH})
    )
    LicenseApi(watch, extra_keys=keyring.extra).attach(http)
    port = await http.start(settings.host, settings.http_port)
    try:
        log.info("license proxy serves on port %d", port)
        process.announce(license_proxy=base_url(settings.host, port))
        # A watch that breaks takes the process down: a stale answer is worse than none.
        await process.run_until(stop, watch.run())
    finally:
        await http.stop()
    log.info("license proxy stopped")
