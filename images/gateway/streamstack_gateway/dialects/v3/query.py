"""The query of an upgrade to what the client wants: ``reference/assemblyai-protocol.md`` 3.

Unknown parameters, and those of 3.5 that clients still send, are ignored. Of a parameter given twice the last counts.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from streamstack_gateway.dialects.events import Encoding, SessionRequest, TurnSettings
from streamstack_gateway.dialects.v3.fields import Adjustable, Fraction, validate
from streamstack_gateway.dialects.v3.target import v3_parameters
from streamstack_gateway.dialects.v3.unavailable import warnings_for
from streamstack_gateway.errors import (
    invalid_parameter,
    one_of,
    sample_rate_too_low,
    unknown_encoding,
)
from streamstack_gateway.models import formats_always

SAMPLE_RATE_DEFAULT_HZ = 16_000
SAMPLE_RATE_MIN_HZ = 8_000
SAMPLE_RATE_MAX_HZ = 96_000

DEFAULTS = TurnSettings(
    end_of_turn_confidence_threshold=0.4,
    min_turn_silence_ms=400,
    max_turn_silence_ms=1280,
    vad_threshold=0.4,
    format_turns=False,
    include_partial_turns=True,
)
"""Of the universal-streaming models, "balanced" (4.3)."""

_NOT_OFFERED = ("opus", "ogg_opus", "aac")
_LISTS = ("keyterms_prompt", "keyterms", "language_codes", "redact_pii_policies")
_OBJECTS = ("llm_gateway",)
_LANGUAGE_CHARACTERS_MAX = 35  # RFC 5646 4.4.1

AUTOMATIC = "auto"
"""``SessionRequest.language`` of a session that is to find its language itself."""


def _language(code: str) -> str:
    parts = code.lower().replace("_", "-").split("-")
    well_formed = all(part.isascii() and part.isalnum() for part in parts) and parts[0].isalpha()
    if not well_formed or len(code) > _LANGUAGE_CHARACTERS_MAX or len(parts[0]) < 2:
        raise PydanticCustomError("language", "Input should be a language code such as 'en', or 'multi'")
    return "-".join(parts)


Language = Annotated[str, AfterValidator(_language)]


class Query(Adjustable):
    """Parameters that only the upgrade may carry."""

    sample_rate: Annotated[int, Field(le=SAMPLE_RATE_MAX_HZ)] = SAMPLE_RATE_DEFAULT_HZ
    speech_model: str | None = None
    inactivity_timeout: Annotated[int, Field(ge=5, le=3600)] | None = None
    include_partial_turns: bool | None = None
    language: Language | None = None
    language_code: Language | None = None
    language_detection: bool = False

    # Known and checked, without effect here: see unavailable.py.
    domain: Literal["medical-v1"] | None = None
    webhook_url: str | None = None
    llm_gateway: dict[str, Any] | None = None
    customer_support_audio_capture: bool | None = None
    previous_context_n_turns: Annotated[int, Field(ge=0, le=100)] | None = None
    speaker_labels: bool | None = None
    max_speakers: Annotated[int, Field(ge=1, le=10)] | None = None
    speaker_labels_revision_interval_ms: Annotated[int, Field(ge=0, le=86_400_000)] | None = None
    voice_focus: Literal["near-field", "far-field"] | None = None
    voice_focus_threshold: Fraction | None = None
    redact_pii: bool | None = None
    redact_pii_policies: list[str] | None = None
    redact_pii_sub: Literal["hash", "entity_name"] | None = None


def parse_request(target: str, defaults: TurnSettings = DEFAULTS) -> SessionRequest:
    """Parse the request target of an upgrade. Raises SessionError 3006."""
    given = v3_parameters(target)
    # First, because a container format has no meaningful sample rate.
    encoding = _encoding(given.pop("encoding", [Encoding.PCM_S16LE.value])[-1])
    query = validate(Query, {name: _value(name, texts) for name, texts in given.items()})
    if query.sample_rate < SAMPLE_RATE_MIN_HZ:
        raise sample_rate_too_low(SAMPLE_RATE_MIN_HZ)
    return SessionRequest(
        speech_model=query.speech_model,
        sample_rate=query.sample_rate,
        encoding=encoding,
        turns=_turns(query, defaults),
        keyterms=tuple(query.keyterms_prompt or ()),
        language=_one_language(query),
        language_detection=query.language_detection,
        inactivity_timeout_seconds=query.inactivity_timeout,
        heartbeat=bool(query.session_heartbeat),
        warnings=warnings_for(_without_effect(query)),
    )


def _encoding(name: str) -> Encoding:
    try:
        return Encoding(name)
    except ValueError:
        if name not in _NOT_OFFERED:
            raise unknown_encoding(name) from None
    offered = one_of(encoding.value for encoding in Encoding)
    raise invalid_parameter("encoding", f"Input should be {offered}. '{name}' is not offered by this deployment")


def _value(name: str, texts: list[str]) -> object:
    if name in _LISTS:
        return [item for text in texts for item in _items(name, text)]
    if name in _OBJECTS:
        return _json(name, texts[-1], "Invalid JSON object")
    return texts[-1]


def _items(name: str, text: str) -> list[Any]:
    """JSON text with a list, or, more lenient than the hosted service (17), one item of a repeated parameter."""
    text = text.strip()
    if not text.startswith(("[", "{", '"')):
        return [text]
    items = _json(name, text, "Invalid JSON array")
    if not isinstance(items, list):
        raise invalid_parameter(name, "Invalid JSON array")
    return items


def _json(name: str, text: str, expected: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid_parameter(name, expected) from None


def _turns(query: Query, defaults: TurnSettings) -> TurnSettings:
    # Redaction, which this deployment warns about, comes without partial turns unless they are asked for (3.2).
    partial_turns = defaults.include_partial_turns and not query.redact_pii
    return TurnSettings(
        end_of_turn_confidence_threshold=_or(
            query.end_of_turn_confidence_threshold, defaults.end_of_turn_confidence_threshold
        ),
        min_turn_silence_ms=_or(query.min_turn_silence, defaults.min_turn_silence_ms),
        max_turn_silence_ms=_or(query.max_turn_silence, defaults.max_turn_silence_ms),
        vad_threshold=_or(query.vad_threshold, defaults.vad_threshold),
        format_turns=formats_always(query.speech_model) or _or(query.format_turns, defaults.format_turns),
        include_partial_turns=_or(query.include_partial_turns, partial_turns),
        filter_profanity=_or(query.filter_profanity, defaults.filter_profanity),
    )


Value = TypeVar("Value")


def _or(given: Value | None, default: Value) -> Value:
    return default if given is None else given


def _one_language(query: Query) -> str:
    """The newest of the three ways to name a language that is in use; several languages, or any, is automatic."""
    if query.language_codes:
        return AUTOMATIC if len(query.language_codes) > 1 else _automatic_if_multi(query.language_codes[0])
    return _automatic_if_multi(query.language_code or query.language or "")


def _automatic_if_multi(code: str) -> str:
    return AUTOMATIC if code == "multi" else code


def _without_effect(query: Query) -> Mapping[str, object]:
    asked = dict(query)
    # One language is honoured, and so is "any"; it is the choice among some that gets lost.
    asked["language_codes"] = len(query.language_codes or ()) > 1
    return asked
