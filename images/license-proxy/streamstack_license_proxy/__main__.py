"""``python -m streamstack_license_proxy``."""

import asyncio
import logging

from streamstack_common import logs, process
from streamstack_common.credential import CredentialError
from streamstack_common.internal_http import ListenError, TlsFilesError
from streamstack_common.keyring import KeyringError
from streamstack_common.settings import load, refuse_start
from streamstack_license_proxy.api_key import ApiKeyError
from streamstack_license_proxy.parts import StateDirError, parts_of
from streamstack_license_proxy.self_termination import SELF_TERMINATED, AuthorityAwayError
from streamstack_license_proxy.service import StartRefusedError, serve
from streamstack_license_proxy.settings import LicenseProxySettings

log = logging.getLogger(__name__)


def main() -> None:
    """Run the license proxy.

    Exits 2 when its configuration cannot be used, 1 when billing by usage cannot begin or the port is taken,
    ``SELF_TERMINATED`` when the license authority was away for longer than the settings bear.
    """
    process.seal()
    process.die_with_parent()
    settings = load(LicenseProxySettings)
    logs.configure(service="license-proxy", level=settings.logging_level, structured=settings.use_structured_logging)
    try:
        parts = parts_of(settings)
    except (ApiKeyError, CredentialError, KeyringError, StateDirError, TlsFilesError) as error:
        refuse_start([str(error)])
    try:
        asyncio.run(serve(settings, parts))
    except StartRefusedError as error:
        log.critical("%s", error)
        raise SystemExit(1) from None
    except ListenError as error:
        log.critical("cannot serve: %s", error.strerror)
        raise SystemExit(1) from None
    except AuthorityAwayError as error:
        log.critical("%s", error)
        raise SystemExit(SELF_TERMINATED) from None


if __name__ == "__main__":
    main()
