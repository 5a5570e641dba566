"""What a client asks and what it is told, free of any wire format.

A dialect turns bytes and text into these and back (DESIGN 5); the session knows nothing else of the client. Times on
the audio clock are milliseconds from the session's first sample.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Encoding(Enum):
    """How audio arrives; values are those of the v3 ``encoding`` parameter."""

    PCM_S16LE = "pcm_s16le"
    PCM_MULAW = "pcm_mulaw"


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """When a turn ends and how it is shown; may change while the session runs."""

    end_of_turn_confidence_threshold: float
    min_turn_silence_ms: int
    max_turn_silence_ms: int
    vad_threshold: float
    format_turns: bool
    include_partial_turns: bool
    filter_profanity: bool = False


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A client's wish for a session, as parsed from the upgrade request.

    ``speech_model`` is the client's word for it, None when it named none; ``inactivity_timeout_seconds`` None is never.
    """

    speech_model: str | None
    sample_rate: int
    encoding: Encoding
    turns: TurnSettings
    keyterms: tuple[str, ...] = ()
    language: str = ""
    language_detection: bool = False
    inactivity_timeout_seconds: int | None = None
    heartbeat: bool = False
    warnings: tuple["Warned", ...] = ()


# --------------------------------------------------------------------------------------------- client -> gateway


@dataclass(frozen=True, slots=True)
class ForceEndpoint:
    """End the open turn now."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Count as activity, nothing else."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Finish what is open, then end the session."""


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """New values; None is unchanged. ``warnings`` name what was asked for and does not happen."""

    end_of_turn_confidence_threshold: float | None = None
    min_turn_silence_ms: int | None = None
    max_turn_silence_ms: int | None = None
    vad_threshold: float | None = None
    format_turns: bool | None = None
    filter_profanity: bool | None = None
    keyterms: tuple[str, ...] | None = None
    heartbeat: bool | None = None
    warnings: tuple["Warned", ...] = ()


ClientEvent = ForceEndpoint | KeepAlive | Terminate | ConfigurationChange


# --------------------------------------------------------------------------------------------- gateway -> client


@dataclass(frozen=True, slots=True)
class Begun:
    """First message of every session. ``expires_at`` is Unix seconds; ``model`` the one that really answers."""

    session_id: str
    expires_at: int
    model: str
    filter_profanity: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word as shown: ``end_ms`` >= ``start_ms``, confidence 0 to 1."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    is_final: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """The state of a turn. ``transcript`` holds the final words only; ``utterance`` is empty except at a pause."""

    turn_order: int
    is_formatted: bool
    end_of_turn: bool
    transcript: str
    end_of_turn_confidence: float
    words: tuple[Word, ...]
    utterance: str = ""
    language_code: str | None = None
    language_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sent every five seconds to those who asked."""

    total_audio_received_ms: int
    total_duration_ms: int
    realtime_factor: float
    max_speech_probability: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something asked for does not happen; the session goes on."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """Last message of a session that ended well."""

    audio_duration_seconds: int
    session_duration_seconds: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Last message of a session that did not; the close frame carries the same code."""

    code: int
    message: str


ServerEvent = Begun | Turn | Heartbeat | Warned | Terminated | Failure


class Dialect(Protocol):
    """One wire format, sans I/O. Stateless: one instance serves every session that speaks it."""

    name: str

    def request(self, target: str) -> SessionRequest:
        """Parse the request target (path and query) of an upgrade. Raises SessionError 3006."""

    def receive(self, text: bytes) -> ClientEvent:
        """Parse one text message, UTF-8. Raises SessionError 3006."""

    def send(self, event: ServerEvent) -> bytes:
        """Encode one message for the client."""
