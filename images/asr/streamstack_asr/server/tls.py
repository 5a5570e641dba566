"""The certificate of the gRPC port."""

import ssl
from pathlib import Path


class TlsError(ValueError):
    """Certificate and key cannot be used; the message names the files and what is wrong with them."""


def read_certificate(certificate_file: str, key_file: str) -> tuple[bytes, bytes]:
    """Read a PEM certificate chain and its private key, checked against each other. Raises TlsError."""
    try:
        # gRPC itself would only say that the port cannot be opened. An empty password: nobody is there to be asked.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_file, key_file, password="")
        return Path(certificate_file).read_bytes(), Path(key_file).read_bytes()
    except OSError as error:
        pair = f"certificate {certificate_file} with key {key_file}"
        raise TlsError(f"{pair}: {error}: expected a PEM certificate chain and its unencrypted key") from error
