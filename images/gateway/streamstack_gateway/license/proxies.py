"""One or several license proxies behind one address book: asked in turn until one gives a usable answer."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from streamstack_common.credential import Credential
from streamstack_gateway.license.tls import ProxyTls

MAX_BODY_BYTES: Final = 256 * 1024
"""Of an answer. A license has 64 KiB at most; as JSON its models may take more of them."""

Answer = TypeVar("Answer")


class ProxiesAwayError(Exception):
    """No proxy gave a usable answer; the message says why, of each."""


class UnusableAnswerError(Exception):
    """A proxy answered something that means nothing here; for the gateway it is unreachable."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Where the proxies are (``parse_endpoints``), what to present, and how to connect to those of ``https``."""

    endpoints: tuple[str, ...]
    credential: Credential
    tls: ProxyTls | None = None


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Base URLs of a comma-separated list. Raises ValueError naming the setting."""
    endpoints = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for endpoint in endpoints:
        scheme, separator, rest = endpoint.partition("://")
        # No credentials in it: it is logged.
        if scheme not in {"http", "https"} or not separator or not rest or "@" in rest or " " in rest:
            raise ValueError(
                f"AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT: {endpoint.rpartition('@')[2]!r}: expected http(s)://host:port, "
                "several separated by commas"
            )
    if not endpoints:
        raise ValueError("AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT: expected at least one http(s)://host:port")
    return endpoints


class ProxyClient:
    """An open client of all proxies. It stays with the one that answered last; see :func:`proxy_client`."""

    def __init__(self, proxies: Proxies, http: aiohttp.ClientSession) -> None:
        self._proxies = proxies
        self._http = http
        self._current = 0

    async def ask(
        self, method: str, path: str, *, parse: Callable[[bytes], Answer], body: bytes | None = None
    ) -> Answer:
        """Ask one proxy after the other, each once, beginning with the one that answered last.

        ``parse`` reads the body of an answer 200 and raises UnusableAnswerError. Raises ProxiesAwayError.
        """
        endpoints = self._proxies.endpoints
        problems = []
        for _ in endpoints:
            endpoint = endpoints[self._current]
            try:
                return parse(await self._ask(method, endpoint + path, body))
            except (aiohttp.ClientError, TimeoutError, UnusableAnswerError) as error:
                problem = str(error) or type(error).__name__
                problems.append(problem if len(endpoints) == 1 else f"{endpoint}: {problem}")
            self._current = (self._current + 1) % len(endpoints)
        raise ProxiesAwayError("; ".join(problems))

    async def _ask(self, method: str, url: str, body: bytes | None) -> bytes:
        headers = {"Authorization": self._proxies.credential.bearer()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        # A redirect would carry the credential to wherever it points.
        async with self._http.request(
            method, url, data=body, headers=headers, allow_redirects=False, ssl=self._tls()
        ) as response:
            path = response.url.path
            if response.status != 200:
                raise UnusableAnswerError(f"{path} answered {response.status}; expected 200")
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > MAX_BODY_BYTES:
                    raise UnusableAnswerError(f"{path} answered more than {MAX_BODY_BYTES} bytes")
        return bytes(answer)

    def _tls(self) -> ssl.SSLContext | bool:
        tls = self._proxies.tls
        return True if tls is None else tls.context()


@asynccontextmanager
async def proxy_client(proxies: Proxies, *, timeout_seconds: float) -> AsyncIterator[ProxyClient]:
    """Open a client; ``timeout_seconds`` is for each proxy's whole answer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_seconds)) as http:
        yield ProxyClient(proxies, http)
