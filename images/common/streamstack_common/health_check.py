"""``python -m streamstack_common.health_check URL [VARIABLE]``: whether a service on this machine says it is healthy.

An image's HEALTHCHECK, in exec form, where there is neither a shell nor curl. ``${NAME:-default}`` in the URL is an
environment variable, because nothing else would put it in; where ``VARIABLE`` is set the service speaks TLS.

Exits 0 for an answer 200, else 1 with the reason on standard output, where ``docker inspect`` shows it (2 is reserved
by Docker). It imports the standard library alone: it runs every few seconds beside live sessions.
"""

import os
import re
import ssl
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS: Final = 4.0
"""Below the five seconds after which an image's HEALTHCHECK is killed without a reason."""

LONGEST_REASON_BYTES: Final = 500
_VARIABLE: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Ask once; 0 when healthy, 1 when not."""
    if len(arguments) not in {1, 2}:
        return _unhealthy(f"expected a URL and perhaps the name of a variable that means TLS, got {list(arguments)}")
    url = expand(arguments[0], environment)
    secure = len(arguments) == 2 and bool(environment.get(arguments[1]))
    reason = why_unhealthy(url.replace("http://", "https://", 1) if secure else url)
    return 0 if reason is None else _unhealthy(reason)


def expand(url: str, environment: Mapping[str, str]) -> str:
    """Put environment variables in: ``${NAME:-default}``, an empty one counts as not set."""
    return _VARIABLE.sub(lambda found: environment.get(found[1]) or found[2], url)


def why_unhealthy(url: str) -> str | None:
    """GET ``url`` (``http`` or ``https``, whose certificate is not looked at: it is made out for other names)."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return f"{url}: expected http://HOST:PORT/PATH"
        connection = _connection(parts.scheme, parts.hostname, parts.port)
    except ValueError as error:
        return f"{url}: {error}"
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(LONGEST_REASON_BYTES).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    finally:
        connection.close()
    return None if response.status == 200 else f"{url}: {response.status} {body}"


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)


def _unhealthy(reason: str) -> int:
    sys.stdout.write(f"{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
