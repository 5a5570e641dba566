"""Calls to a license authority or a license proxy: one request, one answer of bounded size, errors for people."""

import json
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ValidationError

from streamstack_cli import exit_codes, v3
from streamstack_cli.stack import OptionsError
from streamstack_cli.transcript_view import printable
from streamstack_common.credential import Credential, CredentialError

CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 60.0
"""Longest pause within an answer; an import of many records takes the authority a while."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_QUOTED: Final = 300
"""Longest piece of somebody else's words in a message."""

Model = TypeVar("Model", bound=BaseModel)


class ApiError(Exception):
    """A call came to nothing; the message is for people, ``exit_status`` for the shell."""

    exit_status = exit_codes.UNREACHABLE


class UnreachableError(ApiError):
    """Nobody answers there, or not as one of ours would."""


class RefusedError(ApiError):
    """Whom we asked said no; ``http_status`` is how."""

    exit_status = exit_codes.REFUSED

    def __init__(self, message: str, *, http_status: int) -> None:
        super().__init__(message)
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe, and how to be believed: PEM files; the system's authorities, and no certificate of one's own.

    ``allow_http`` lets a token go to another machine in the clear. Raises OptionsError: half of a certificate.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    allow_http: bool = False

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise OptionsError("--client-certificate and --client-key go together: expected both or neither")

    @property
    def needs_tls(self) -> bool:
        """Whether something was given that only TLS has a use for."""
        return self.ca_file is not None or self.certificate_file is not None

    def context(self) -> ssl.SSLContext:
        """Return TLS as it is to be spoken. Raises OptionsError: a file is not what it has to be."""
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except ssl.SSLError as error:
            raise OptionsError(f"--ca-file {self.ca_file}: expected certificates in PEM") from error
        except OSError as error:
            raise OptionsError(f"--ca-file {self.ca_file}: {error.strerror}") from error
        if self.certificate_file is not None:
            try:
                context.load_cert_chain(self.certificate_file, self.key_file)
            except OSError as error:
                raise OptionsError(
                    f"--client-certificate {self.certificate_file}, --client-key {self.key_file}: expected a "
                    f"certificate and its key, PEM: {error.strerror}"
                ) from error
        return context


DEFAULT_TRUST: Final = Trust()


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call: a base URL, the file with the bearer token that it wants, and whom to believe.

    Raises OptionsError: the URL is none, or would carry a token over a network in the clear.
    """

    url: str
    credential_file: Path | None = None
    trust: Trust = DEFAULT_TRUST

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise OptionsError(f"{self.url!r}: expected an address such as https://authority.example")
        if parts.username is not None or parts.password is not None:
            raise OptionsError("an address holds no password: expected the token in --credential-file")
        if parts.scheme == "http" and not (self.trust.allow_http or v3.is_loopback(self.url)):
            raise OptionsError(
                f"{self.url!r} is neither TLS nor on this machine: expected https://, or --allow-http where nobody "
                "listens in between"
            )
        if self.trust.needs_tls and parts.scheme == "http":
            raise OptionsError(f"--ca-file and --client-certificate are for https://, and the address is {self.url!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever it says."""

    asked: str
    status: int
    body: bytes

    def refusal(self) -> RefusedError:
        """Return the error that this answer is."""
        return RefusedError(f"{self.asked} answered {self.status}: {self._reason()}", http_status=self.status)

    def good(self) -> bytes:
        """Return the body of an answer 200 or 201. Raises RefusedError."""
        if self.status not in {200, 201}:
            raise self.refusal()
        return self.body

    def read(self, model: type[Model]) -> Model:
        """Return the body as what it has to be. Raises UnreachableError: whoever answered is none of ours."""
        try:
            return model.model_validate_json(self.body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "body"
            raise UnreachableError(
                f"{self.asked} answered what none of ours would: {where}: {problem['msg']}"
            ) from None

    def _reason(self) -> str:
        """Return what the answer says of itself: ``error`` of ours, ``detail`` of FastAPI's."""
        try:
            parsed: object = json.loads(self.body)
        except (ValueError, RecursionError):
            return _bounded(self.body.decode(errors="replace"))
        if isinstance(parsed, dict):
            for name in ("error", "detail"):
                if name in parsed:
                    told = parsed[name]
                    return _bounded(told if isinstance(told, str) else json.dumps(told))
        return _bounded(json.dumps(parsed))


class Api:
    """An open connection to a target."""

    def __init__(self, http: aiohttp.ClientSession, target: Target, token: str | None) -> None:
        self._http = http
        self._base = target.url.rstrip("/")
        self._token = token

    async def get(self, path: str, *, query: Mapping[str, str] | None = None, limit: int = MAX_ANSWER_BYTES) -> Answer:
        """Ask, and read at most ``limit`` bytes. Raises UnreachableError."""
        asked = self._asked("GET", path)
        with _failing(asked):
            async with self._request("GET", path, query=query) as response:
                return Answer(asked, response.status, await _content(response, asked, limit=limit))

    async def post(self, path: str, body: BaseModel | bytes, *, kind: str = "application/json") -> Answer:
        """Tell. Raises UnreachableError."""
        data = body.model_dump_json().encode() if isinstance(body, BaseModel) else body
        asked = self._asked("POST", path)
        with _failing(asked):
            async with self._request("POST", path, data=data, kind=kind) as response:
                return Answer(asked, response.status, await _content(response, asked))

    async def download(self, path: str, file: IO[bytes], *, query: Mapping[str, str], limit: int) -> None:
        """Write what is answered, as it was sent, into a file. Raises UnreachableError and RefusedError."""
        asked = self._asked("GET", path)
        with _failing(asked):
            async with self._request("GET", path, query=query) as response:
                if response.status != HTTPStatus.OK:
                    raise Answer(asked, response.status, await _content(response, asked)).refusal()
                size = 0
                async for piece in response.content.iter_any():
                    size += len(piece)
                    if size > limit:
                        raise UnreachableError(f"{asked} answered more than {limit} bytes")
                    file.write(piece)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        kind: str | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Content-Type": kind} if kind is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        # A redirect would carry the token to somebody else.
        return self._http.request(
            method, self._base + path, params=query, data=data, headers=headers, allow_redirects=False
        )

    def _asked(self, method: str, path: str) -> str:
        return f"{method} {self._base}{path}"


async def _content(response: aiohttp.ClientResponse, asked: str, *, limit: int = MAX_ANSWER_BYTES) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise UnreachableError(f"{asked} answered more than {limit} bytes")
    return bytes(body)


@contextmanager
def _failing(asked: str) -> Iterator[None]:
    """Say what a network's errors mean, and of what."""
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(f"{asked}: no answer in time") from error
    except aiohttp.ClientConnectorCertificateError as error:
        problem = _bounded(str(error.certificate_error))
        raise UnreachableError(f"{asked}: the certificate there is not trusted: {problem}") from error
    except aiohttp.ClientConnectorSSLError as error:
        # Its number is OpenSSL's, which means something else in errno(3).
        raise UnreachableError(f"{asked}: {_tls_problem(error.os_error)}") from error
    except aiohttp.ClientConnectorError as error:
        # A name that cannot be resolved has a number of another kind, and its words with it.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise UnreachableError(f"{asked}: {reason or 'no connection'}") from error
    except aiohttp.ClientError as error:
        raise UnreachableError(f"{asked}: {_bounded(str(error)) or type(error).__name__}") from error


def _tls_problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers there does not speak TLS: expected http://, or another port"
    return f"no TLS with what answers there: {_bounded(str(error))}"


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Api]:
    """Yield something to call with. Raises OptionsError: the credential or the authority's certificate is no use."""
    token = _token(target.credential_file)
    connector = aiohttp.TCPConnector(ssl=target.trust.context())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    # A proxy of the environment is asked as other tools ask it, but not about this very machine.
    outside = not v3.is_loopback(target.url)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, trust_env=outside, auto_decompress=False
    ) as http:
        yield Api(http, target, token)


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return Credential(path).current()
    except CredentialError as error:
        raise OptionsError(str(error)) from error


def _bounded(text: str) -> str:
    line = printable(text)
    return line if len(line) <= MAX_QUOTED else f"{line[:MAX_QUOTED]}..."
