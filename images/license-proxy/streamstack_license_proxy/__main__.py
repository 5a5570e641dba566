"""``python -m streamstack_license_proxy``."""

import asyncio

from streamstack_common import logs, process
from streamstack_common.credential import Credential, CredentialError
from streamstack_common.keyring import KeyringError
from streamstack_common.settings import load, refuse_start
from streamstack_license_proxy.service import load_keyring, serve
from streamstack_license_proxy.settings import LicenseProxySettings


def main() -> None:
    """Run the license proxy; exits 2 when its configuration cannot be used."""
    process.seal()
    process.die_with_parent()
    settings = load(LicenseProxySettings)
    logs.configure(service="license-proxy", level=settings.logging_level, structured=settings.use_structured_logging)
    try:
        credential = Credential(settings.credential_file)
        keyring = load_keyring(settings)
    except (CredentialError, KeyringError) as error:
        refuse_start([str(error)])
    asyncio.run(serve(settings, credential=credential, keyring=keyring))


if __name__ == "__main__":
    main()
