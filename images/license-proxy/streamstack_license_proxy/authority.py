"""HTTP to the license authority: check-ins and uploads. Answers are bounded, redirects are not followed.

Nothing here logs, and no message repeats what was sent or what came back: licenses and API keys are secrets, and
whoever answers may not be the authority.
"""

import ssl
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ValidationError

from streamstack_common.authority import (
    CHECKINS_PATH,
    JOURNALS_PATH,
    MAX_ANSWER_BYTES,
    CheckIn,
    CheckInAnswer,
    Upload,
    UploadAnswer,
)
from streamstack_license_proxy.pacing import ANSWER_SECONDS

CONNECT_SECONDS: Final = 5.0

TRY_LATER: Final = frozenset({408, 425, 429})
"""Answers of a server that means to say yes another time; so does everything from 500 on."""

REFUSALS: Final[Mapping[int, str]] = {
    401: "the API key is missing or not this customer's (USAGE_TRACKING_API_KEY)",
    403: "the API key is not allowed to (USAGE_TRACKING_API_KEY)",
    404: "not found; expected the base URL of a license authority (LICENSE_AUTHORITY_ENDPOINT)",
    413: "too large",
    422: "it was not issued by this authority, or not understood by it",
}

Answer = TypeVar("Answer", bound=BaseModel)


class AuthorityError(Exception):
    """The authority did not do what it was asked for; the message says why and holds no secret."""


class AuthorityUnreachableError(AuthorityError):
    """No answer of an authority: no way to it, no time left, or what answers is something else. Try again later."""


class AuthorityRefusedError(AuthorityError):
    """It answered, and said no: until somebody changes something it will say so again. ``status`` is HTTP's."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def endpoint_problem(url: str, *, insecure: bool) -> str | None:
    """Say why an authority's base URL cannot be used, or None.

    ``http://`` would show the license and the API key to whoever listens: it needs ``insecure``, but for loopback.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "expected https://HOST[:PORT][/PATH]"
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        return "expected https://HOST[:PORT][/PATH]"
    if parts.username is not None or parts.password is not None:
        return "expected no user name or password in it"
    if parts.scheme == "http" and not insecure and not _is_loopback(host):
        return "expected https://; http:// is for loopback, or with LICENSE_AUTHORITY_INSECURE=true"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Authority:
    """One way to an authority; ``async with`` closes its connections. Make it inside the running event loop.

    Args:
        endpoint: its base URL now, None where nothing names one: it changes with the license.
        api_key: the customer's key now (``USAGE_TRACKING_API_KEY``), None where there is none.
        tls: what certificates are checked against, and the proxy's own where it has one; None is the system's.
        insecure: ``http://`` is allowed beyond loopback.

    """

    def __init__(
        self,
        *,
        endpoint: Callable[[], str | None],
        api_key: Callable[[], str | None],
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._api_key = api_key
        self._insecure = insecure
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def check_in(self, question: CheckIn, *, with_key: bool) -> str:
        """Ask about a license; returns the answer's JWT, which is not looked into here.

        Args:
            question: the license, and a nonce that was never used before.
            with_key: send the API key along, so that it is checked, too (billing ``usage``).

        Raises:
            AuthorityError: there is no answer, or it is no.

        """
        _, answer = await self._post(CHECKINS_PATH, question, CheckInAnswer, with_key=with_key)
        return answer.answer

    async def upload(self, journal_id: str, upload: Upload) -> UploadAnswer:
        """Send records of a journal; an answer with a ``problem`` (409) is an answer.

        Raises:
            AuthorityError: nothing is known to be in the ledger.

        """
        path = f"{JOURNALS_PATH}/{journal_id}/records"
        status, answer = await self._post(path, upload, UploadAnswer, with_key=True, also=frozenset({409}))
        if (status == 409) is (answer.problem is None):
            raise AuthorityUnreachableError(f"{path} answered {status} with a body that is not for it")
        return answer

    async def _post(
        self,
        path: str,
        body: BaseModel,
        answer: type[Answer],
        *,
        with_key: bool,
        also: frozenset[int] = frozenset(),
    ) -> tuple[int, Answer]:
        """Status 200 (or one of ``also``) and the answer."""
        url = self._base_url() + path
        headers = {"Content-Type": "application/json", **(self._authorization() if with_key else {})}
        try:
            # A redirect would carry the license and the key to wherever it points.
            async with self._client.post(
                url, data=body.model_dump_json(by_alias=True).encode(), headers=headers, allow_redirects=False
            ) as response:
                content = await _bounded(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: no name at all
            raise AuthorityUnreachableError(f"{url}: {error or type(error).__name__}") from error
        if status != 200 and status not in also:
            raise _refusal(url, status)
        try:
            return status, answer.model_validate_json(content)
        except ValidationError:
            raise AuthorityUnreachableError(f"{url}: what answers is no license authority") from None

    def _base_url(self) -> str:
        url = self._endpoint()
        if url is None:
            raise AuthorityUnreachableError("the license names no authority (iss); expected LICENSE_AUTHORITY_ENDPOINT")
        problem = endpoint_problem(url, insecure=self._insecure)
        if problem is not None:
            raise AuthorityUnreachableError(f"the license's authority (iss): {problem}")
        return url.rstrip("/")

    def _authorization(self) -> dict[str, str]:
        key = self._api_key()
        if key is None:
            raise AuthorityRefusedError("there is no API key; expected USAGE_TRACKING_API_KEY", status=401)
        return {"Authorization": f"Bearer {key}"}


def _refusal(url: str, status: int) -> AuthorityError:
    if status in TRY_LATER or not 400 <= status < 500:
        return AuthorityUnreachableError(f"{url}: answered {status}; expected 200")
    return AuthorityRefusedError(f"{url}: answered {status}: {REFUSALS.get(status, 'refused')}", status=status)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"answered more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
