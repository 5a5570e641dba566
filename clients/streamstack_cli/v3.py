"""The client's side of the streaming API (v3), free of I/O; facts: ``reference/assemblyai-protocol.md`` 3, 5 and 9."""

import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

SESSION_PATH: Final = "/v3/ws"
TERMINATE: Final = json.dumps({"type": "Terminate"})
SELF_HOSTED: Final = "self-hosted"
"""The fixed word every client of a self-hosted stack sends as ``Authorization``."""

CLOSE_MEANINGS: Final = {
    1001: "the server is going away",
    1006: "the connection was lost",
    1008: "not authorized",
    1011: "the server had an internal error",
    1013: "the server is overloaded, try again later",
    3005: "the server cancelled the session",
    3006: "the server refused what was sent",
    3007: "the audio was too short, too long or too fast",
    3008: "the session reached its time limit",
    3009: "too many sessions, try again later",
}
NORMAL_CLOSE: Final = 1000


class EndpointError(ValueError):
    """An endpoint that cannot be one; the message shows it and what was expected."""


class ProtocolError(ValueError):
    """A message the server should not have sent; the message says what was expected, never what was said."""


@dataclass(frozen=True, slots=True)
class Begin:
    """First message; ``model`` is empty where the server does not tell."""

    session_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn so far. ``text`` is everything heard, words that may still change included."""

    turn_order: int
    end_of_turn: bool
    is_formatted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Termination:
    """Last message of a session that ended well."""

    audio_duration_seconds: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What an ``Error`` (``fatal``) or ``Warning`` says."""

    code: int
    message: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Other:
    """A type of message this client has no use for."""

    type: str


Message = Begin | Turn | Termination | Problem | Other


def session_url(
    endpoint: str, *, sample_rate: int, encoding: str, speech_model: str | None = None, language: str | None = None
) -> str:
    """URL of a session. An endpoint without a path gets ``/v3/ws``; its own query is kept. Raises EndpointError."""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise EndpointError(f"endpoint {endpoint!r}: {error}") from error
    if parts.scheme not in {"ws", "wss"} or not host:
        raise EndpointError(f"endpoint {endpoint!r}: expected ws://HOST:PORT or wss://HOST")
    wishes = {"speech_model": speech_model, "language": language}
    query = {
        **dict(parse_qsl(parts.query)),
        "sample_rate": str(sample_rate),
        "encoding": encoding,
        "format_turns": "true",
        **{name: value for name, value in wishes.items() if value},
    }
    path = parts.path if parts.path.strip("/") else SESSION_PATH
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(query), ""))


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where no proxy belongs in between."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(text: str | bytes) -> Message:
    """Parse one text message of the server. Raises ProtocolError."""
    try:
        message = json.loads(text)
    except ValueError as error:
        raise ProtocolError("expected a JSON object, got something that is no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"expected a JSON object, got a JSON {type(message).__name__}")
    match _get(message, "type", str):
        case "Begin":
            configuration = message.get("configuration")
            model = configuration.get("model") if isinstance(configuration, dict) else None
            return Begin(_get(message, "id", str), model if isinstance(model, str) else "")
        case "Turn":
            return _turn(message)
        case "Termination":
            return Termination(_get(message, "audio_duration_seconds", int))
        case "Error":
            return Problem(_get(message, "error_code", int), _get(message, "error", str), fatal=True)
        case "Warning":
            return Problem(_get(message, "warning_code", int), _get(message, "warning", str), fatal=False)
        case other:
            return Other(other)


def closed(code: int, reason: str) -> str:
    """Say in words how a connection was closed."""
    meaning = CLOSE_MEANINGS.get(code, "the server closed the connection")
    return f"{meaning} (close code {code}{f': {reason}' if reason else ''})"


def _turn(message: dict[str, Any]) -> Turn:
    words = _get(message, "words", list)
    end_of_turn = _get(message, "end_of_turn", bool)
    heard = " ".join(_get(word, "text", str) for word in words)
    # A final's transcript is complete; a partial's leaves out the words that may still change.
    text = _get(message, "transcript", str) if end_of_turn else heard
    return Turn(_get(message, "turn_order", int), end_of_turn, _get(message, "turn_is_formatted", bool), text)


def _get(message: object, name: str, kind: type[Any]) -> Any:
    value = message.get(name) if isinstance(message, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(f"expected a message with {name!r} of type {kind.__name__}")
    return value
