"""The pieces of the proxy that come from its settings alone; each refuses what it cannot use before anything runs."""

import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamstack_common.credential import Credential
from streamstack_common.internal_http import server_tls
from streamstack_common.keyring import Keyring, KeyringError, parse_jwks
from streamstack_license_proxy.api_key import FixedKey, KeyFile
from streamstack_license_proxy.settings import LicenseProxySettings
from streamstack_license_proxy.tls_renewal import TlsFiles, TlsSide
from streamstack_license_proxy.vendor_keys import vendor_keyring

log = logging.getLogger(__name__)

DEFAULT_STATE_DIR: Final = Path("/var/lib/streamstack")


class StateDirError(ValueError):
    """``STATE_DIR`` is no folder that can be written."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a proxy is put together from. ``state_dir`` None: nothing outlives the process."""

    credential: Credential
    keyring: Keyring
    api_key: Callable[[], str | None]
    authority_tls: TlsSide
    server_tls: TlsSide | None
    state_dir: Path | None


def parts_of(settings: LicenseProxySettings) -> Parts:
    """Make them.

    Raises:
        CredentialError, KeyringError, ApiKeyError, TlsFilesError, StateDirError: a file is missing or unusable.

    """
    key, key_file = settings.usage_tracking_api_key, settings.usage_tracking_api_key_file
    fixed = FixedKey(None if key is None else key.get_secret_value())
    return Parts(
        credential=Credential(settings.credential_file),
        keyring=load_keyring(settings),
        api_key=fixed if key_file is None else KeyFile(key_file),
        authority_tls=_authority_tls(settings),
        server_tls=_server_tls(settings),
        state_dir=state_dir(settings.state_dir),
    )


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


def state_dir(asked_for: Path | None, default: Path = DEFAULT_STATE_DIR) -> Path | None:
    """Return the folder for what outlives the process; without one that was asked for, the default where it is usable.

    Raises:
        StateDirError: the one that was asked for is not.

    """
    folder = asked_for or default
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return folder
    if asked_for is not None:
        raise StateDirError(f"STATE_DIR {folder}: expected a folder that can be written")
    return None


def _authority_tls(settings: LicenseProxySettings) -> TlsSide:
    ca_file = settings.license_authority_ca_file
    context = ssl.create_default_context() if ca_file is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    pair = _pair(settings.license_authority_certificate_file, settings.license_authority_key_file)
    return TlsSide(context, TlsFiles(pair, ca_file))


def _server_tls(settings: LicenseProxySettings) -> TlsSide | None:
    pair = _pair(settings.tls_certificate_file, settings.tls_key_file)
    if pair is None:
        return None
    context = server_tls(*pair, settings.tls_client_ca_file)
    return TlsSide(context, TlsFiles(pair, settings.tls_client_ca_file))


def _pair(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    return None if certificate is None or key is None else (certificate, key)
