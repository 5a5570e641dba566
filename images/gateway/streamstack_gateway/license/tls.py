"""TLS from a gateway to the license proxies: who they have to be, and who the gateway is."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class ProxyTlsError(ValueError):
    """The files cannot be used; the message names the setting and the file, never the content."""


@dataclass(frozen=True, slots=True)
class ProxyTlsFiles:
    """PEM files. ``ca_file`` None is the system's authorities; certificate and key are for proxies that want one."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class ProxyTls:
    """Client side TLS. Files that are renewed are read again; unusable ones keep what is in force.

    Raises ProxyTlsError at the beginning.
    """

    def __init__(self, files: ProxyTlsFiles) -> None:
        self._files = files
        self._stamp = self._stamps()
        self._context = _context(files)

    def context(self) -> ssl.SSLContext:
        """What the next connection is to be made with; three calls of stat(2)."""
        try:
            stamp = self._stamps()
        except ProxyTlsError:
            return self._context  # a rotation in progress
        if stamp == self._stamp:
            return self._context
        self._stamp = stamp
        try:
            self._context = _context(self._files)
        except ProxyTlsError as error:
            log.warning("%s; what was read before stays in force", error)
        else:
            log.info("certificates for the license proxy were read again")
        return self._context

    def _stamps(self) -> Stamp:
        files = self._files
        named = {
            "LICENSE_CA_FILE": files.ca_file,
            "LICENSE_CLIENT_CERTIFICATE_FILE": files.certificate_file,
            "LICENSE_CLIENT_KEY_FILE": files.key_file,
        }
        stamps = []
        for setting, path in named.items():
            if path is None:
                continue
            try:
                stat = path.stat()
            except OSError as error:
                raise ProxyTlsError(f"{setting} {path}: {error.strerror}") from error
            stamps.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        return tuple(stamps)


def _context(files: ProxyTlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ProxyTlsError(f"LICENSE_CA_FILE {files.ca_file}: {error.strerror}: expected PEM certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate_file is None:
        return context
    try:
        # An encrypted key is an error, not a question on a terminal nobody watches.
        context.load_cert_chain(files.certificate_file, files.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise ProxyTlsError(
            f"LICENSE_CLIENT_CERTIFICATE_FILE {files.certificate_file} with LICENSE_CLIENT_KEY_FILE {files.key_file}: "
            f"{error.strerror}: expected a PEM certificate chain and its key"
        ) from error
    return context
