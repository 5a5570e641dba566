"""Asking an API server whether it answers, with the standard library."""

import http.client
import ssl
from contextlib import closing
from pathlib import Path

from devcluster.control_plane.config import ADDRESS

ANSWER_SECONDS = 5.0


class Administrator:
    """A control plane's administrator, asking over HTTPS. ``pki`` is the folder of its certificates."""

    def __init__(self, pki: Path, *, port: int) -> None:
        self._pki = pki
        self._port = port

    def finds(self, path: str) -> bool:
        """Whether a GET of ``path`` is answered with 200.

        A server that is not there or silent for five seconds has not answered; nor has one whose certificates are gone.
        """
        try:
            tls = ssl.create_default_context(cafile=self._pki / "ca.crt")
            tls.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
            connection = http.client.HTTPSConnection(ADDRESS, self._port, timeout=ANSWER_SECONDS, context=tls)
            with closing(connection):
                connection.request("GET", path)
                return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):  # not found, refused, reset, cut off, too late
            return False
