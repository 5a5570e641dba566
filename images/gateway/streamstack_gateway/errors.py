"""Typed ends of a session: a close code of the v3 table and a text that names what was wrong and what was expected.

Codes and texts: AssemblyAI streaming v3 (``reference/assemblyai-protocol.md`` 9), word for word where one is
documented; other dialects translate them. A message may quote the client, so only ``code`` and ``reason`` belong in a
log.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

_QUOTED_CHARACTERS_MAX = 100


class Code(IntEnum):
    """WebSocket close codes, repeated in the ``Error`` message before the close."""

    NORMAL = 1000
    POLICY = 1008
    INTERNAL = 1011
    OVERLOADED = 1013
    CANCELLED = 3005
    INVALID_INPUT = 3006
    INVALID_AUDIO = 3007
    EXPIRED = 3008
    TOO_MANY_SESSIONS = 3009


@dataclass(eq=False)  # not frozen: contextlib sets __traceback__ on an exception that passes through it
class SessionError(Exception):
    """The session cannot begin or go on.

    ``reason`` is a short stable name for metrics (``unknown_model``, ``audio_duration``); ``message`` is for the
    client.
    """

    code: Code
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.code.value} {self.reason}: {self.message}"


def quoted(text: str) -> str:
    """The client's words, fit to be sent back: printable, on one line, at most 100 characters and a mark of the cut."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_QUOTED_CHARACTERS_MAX])
    return shown + "..." if len(text) > _QUOTED_CHARACTERS_MAX else shown


def one_of(names: Iterable[str]) -> str:
    """``'a', 'b' or 'c'``: how a closed set is named in "Input should be ..."."""
    *most, last = [f"'{name}'" for name in names]
    return f"{', '.join(most)} or {last}" if most else last


# ---------------------------------------------------------------------------------------- who may have a session


def missing_authorization() -> SessionError:
    """Neither an ``Authorization`` header nor a ``token`` parameter."""
    return SessionError(Code.POLICY, "missing_authorization", "Unauthorized Connection: Missing Authorization header")


def invalid_authorization() -> SessionError:
    """A credential this stack does not accept."""
    return SessionError(Code.POLICY, "invalid_authorization", "Unauthorized Connection: Invalid API key")


def expired_authorization() -> SessionError:
    """A temporary token that no longer opens sessions."""
    return SessionError(Code.POLICY, "expired_authorization", "Unauthorized Connection: Signature has expired")


def license_refused(detail: str) -> SessionError:
    """The license takes no new session; ``detail`` says why in the license's words."""
    return SessionError(Code.POLICY, "license_refused", f"Unauthorized Connection: {detail}")


def model_not_licensed(model: str) -> SessionError:
    """The license does not name the model that would answer."""
    message = f"Unauthorized Connection: the license does not include the model '{model}'"
    return SessionError(Code.POLICY, "model_not_licensed", message)


def license_full(sessions: int) -> SessionError:
    """All ``sessions`` that the license leaves this gateway are taken."""
    message = f"Unauthorized Connection: Too many concurrent sessions (the license leaves this gateway {sessions})"
    return SessionError(Code.TOO_MANY_SESSIONS, "license_full", message)


def usage_undelivered() -> SessionError:
    """More usage waits to be taken by a license proxy than may be kept."""
    message = "Try Again Later: No license proxy has taken the usage of ended sessions for too long"
    return SessionError(Code.OVERLOADED, "usage_undelivered", message)


def too_many_sessions() -> SessionError:
    """The gateway is at its limit of sessions."""
    return SessionError(
        Code.TOO_MANY_SESSIONS, "too_many_sessions", "Unauthorized Connection: Too many concurrent sessions"
    )


def pool_full(pool: str) -> SessionError:
    """No pod of the pool has a free slot."""
    message = f"Unauthorized Connection: Too many concurrent sessions (no free slot in pool '{pool}')"
    return SessionError(Code.TOO_MANY_SESSIONS, "pool_full", message)


def retired() -> SessionError:
    """The gateway serves what it has and takes nothing new."""
    return SessionError(Code.OVERLOADED, "retired", "Try Again Later: This gateway takes no new sessions")


def overloaded() -> SessionError:
    """The gateway is short of memory or time for a new session."""
    return SessionError(Code.OVERLOADED, "overloaded", "Try Again Later: This gateway is overloaded")


# ------------------------------------------------------------------------------------------- what a client sends


def invalid_parameter(name: str, expected: str) -> SessionError:
    """A query parameter or a field of ``UpdateConfiguration`` with a value it cannot have."""
    message = f"User Input Validation Error: Invalid '{name}': {expected}"
    return SessionError(Code.INVALID_INPUT, "invalid_parameter", message)


def invalid_request(problem: str) -> SessionError:
    """A request target that is no v3 request at all: wrong path, too long, not ASCII, too many parameters."""
    return SessionError(Code.INVALID_INPUT, "invalid_request", f"User Input Validation Error: {problem}")


def sample_rate_too_low(minimum_hz: int) -> SessionError:
    """The documented text for a ``sample_rate`` below the range."""
    message = f"User Input Validation Error: sample_rate must be at least {minimum_hz:,} Hz"
    return SessionError(Code.INVALID_INPUT, "invalid_parameter", message)


def unknown_encoding(name: str) -> SessionError:
    """The documented text for an ``encoding`` nobody offers."""
    message = f"User Input Validation Error: '{quoted(name)}' is not a valid Encoding"
    return SessionError(Code.INVALID_INPUT, "invalid_parameter", message)


def invalid_json(text: str) -> SessionError:
    """A text message that is not JSON (or not UTF-8)."""
    message = f"User Input Validation Error: Invalid JSON: {quoted(text)}"
    return SessionError(Code.INVALID_INPUT, "invalid_json", message)


def invalid_message(text: str) -> SessionError:
    """JSON that is no object with a ``type``."""
    return SessionError(Code.INVALID_INPUT, "invalid_message", f"Invalid Message: {quoted(text)}")


def invalid_message_type(name: str) -> SessionError:
    """An object whose ``type`` the dialect does not know."""
    return SessionError(Code.INVALID_INPUT, "invalid_message_type", f"Invalid Message Type: {quoted(name)}")


def message_too_large(size: int, limit: int) -> SessionError:
    """A text message or an audio frame above its limit, both in bytes."""
    message = f"User Input Validation Error: Invalid Message: {size} bytes. Expected at most {limit} bytes"
    return SessionError(Code.INVALID_INPUT, "message_too_large", message)


def unknown_model(name: str, known: Iterable[str]) -> SessionError:
    """A ``speech_model`` nobody knows; ``known`` are the accepted values, at least one."""
    message = (
        f"User Input Validation Error: Invalid 'speech_model': Input should be {one_of(known)}. Got '{quoted(name)}'"
    )
    return SessionError(Code.INVALID_INPUT, "unknown_model", message)


def model_without_pool(name: str) -> SessionError:
    """A ``speech_model`` that exists, but not on this stack, and that nothing stands in for."""
    message = (
        f"User Input Validation Error: Invalid 'speech_model': '{quoted(name)}' is not deployed on this stack"
        " and no fallback is configured for it"
    )
    return SessionError(Code.INVALID_INPUT, "model_without_pool", message)


def audio_duration(ms: float) -> SessionError:
    """An audio message outside 50 to 1000 ms."""
    message = f"Input Duration Error: Input Duration Violation: {ms:.1f} ms. Expected between 50 and 1000 ms"
    return SessionError(Code.INVALID_AUDIO, "audio_duration", message)


def audio_rate(received_seconds: float, elapsed_seconds: float) -> SessionError:
    """Audio faster than the pace allows."""
    message = (
        f"Audio Transmission Rate Exceeded: Received {received_seconds:.1f} sec. audio in {elapsed_seconds:.1f} sec"
    )
    return SessionError(Code.INVALID_AUDIO, "audio_rate", message)


def inactivity(seconds: int) -> SessionError:
    """No message of any kind for the ``inactivity_timeout`` the client asked for."""
    message = f"Session terminated due to inactivity: No messages received for {seconds} seconds"
    return SessionError(Code.INVALID_INPUT, "inactivity", message)


# ------------------------------------------------------------------------------------- what happens to a session


def expired() -> SessionError:
    """The session reached its longest duration."""
    return SessionError(Code.EXPIRED, "expired", "Session Expired: Maximum session duration exceeded")


def no_recognition(seconds: float) -> SessionError:
    """No speech recognition anywhere for ``seconds`` after ``Begin``."""
    message = f"Session Cancelled: An error occurred: No speech recognition available for {seconds:g} seconds"
    return SessionError(Code.CANCELLED, "no_recognition", message)


def recognition_failed() -> SessionError:
    """One server after another failed at the same place of this session's audio."""
    message = "Session Cancelled: An error occurred: Speech recognition failed repeatedly on this audio"
    return SessionError(Code.CANCELLED, "recognition_failed", message)


def buffer_budget() -> SessionError:
    """The pod's byte budget is spent and this session's backlog was the longest."""
    message = "Try Again Later: The gateway's audio buffers are full and this session's backlog was the longest"
    return SessionError(Code.OVERLOADED, "buffer_budget", message)


def client_not_reading() -> SessionError:
    """The client leaves its messages unread until the bounded send buffer is full."""
    message = "Session Cancelled: An error occurred: The client does not read its messages"
    return SessionError(Code.CANCELLED, "client_not_reading", message)


def internal() -> SessionError:
    """The catch-all: a defect of the gateway, contained to this session."""
    return SessionError(Code.CANCELLED, "internal", "Session Cancelled: An error occurred")


def stopping() -> SessionError:
    """The gateway was asked to stop and the grace for live sessions is over."""
    return SessionError(Code.CANCELLED, "stopping", "Session Cancelled: An error occurred: The gateway stops")
