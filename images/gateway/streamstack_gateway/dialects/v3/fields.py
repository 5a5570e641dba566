"""What a v3 session can be told, at its start (query) and while it runs (``UpdateConfiguration``): one table.

Names, ranges and limits: ``reference/assemblyai-protocol.md`` 3 and 7. Absent is None, so that defaults stay with who
knows them.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from streamstack_gateway.errors import SessionError, invalid_parameter

SILENCE_MS_MIN = 50
SILENCE_MS_MAX = 10_000
KEYTERMS_MAX = 100
KEYTERM_CHARACTERS_MAX = 50
PROMPT_CHARACTERS_MAX = 1750
LANGUAGE_CODES_MAX = 10

LANGUAGE_CODES = frozenset({
    "af", "ar", "ca", "da", "de", "en", "es", "et", "fa", "fi", "fr", "gl", "he", "hi", "it", "ja", "ko", "mr", "multi",
    "nl", "nn", "no", "pt", "ro", "ru", "sv", "tr", "ur", "vi", "xh", "yue", "zh", "zu",
})  # fmt: skip

ALIASES = {
    "keyterms": "keyterms_prompt",
    "min_end_of_turn_silence_when_confident": "min_turn_silence",
    "noise_suppression_model": "voice_focus",
    "noise_suppression_threshold": "voice_focus_threshold",
    "_customer_support_audio_capture": "customer_support_audio_capture",
}
"""Deprecated or client-specific names. The canonical name wins where both are given."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):  # which pydantic would take for 0 or 1
        raise PydanticCustomError("number", "Input should be a number")
    return value


def _clamp_silence(value: int) -> int:
    return min(max(value, SILENCE_MS_MIN), SILENCE_MS_MAX)


def _keyterms(terms: list[str]) -> list[str]:
    if len(terms) > KEYTERMS_MAX:
        raise PydanticCustomError("keyterms", "Max {limit} items", {"limit": KEYTERMS_MAX})
    # Longer ones are ignored without a word: the hosted service does so (3.3).
    kept = (term.strip() for term in terms)
    return list(dict.fromkeys(term for term in kept if 0 < len(term) <= KEYTERM_CHARACTERS_MAX))


def _language_codes(codes: list[str]) -> list[str]:
    codes = [code.lower() for code in codes]
    if len(codes) > LANGUAGE_CODES_MAX:
        raise PydanticCustomError("language_codes", "Max {limit} items", {"limit": LANGUAGE_CODES_MAX})
    if unknown := [code for code in codes if code not in LANGUAGE_CODES]:
        known = ", ".join(sorted(LANGUAGE_CODES))
        raise PydanticCustomError(
            "language_codes",
            "Input should be a list of {known}. Got {count} other(s)",
            {"known": known, "count": len(unknown)},
        )
    if "multi" in codes and len(codes) > 1:
        raise PydanticCustomError("language_codes", "Input should be 'multi' alone or a list of other codes")
    return codes


Number = BeforeValidator(_no_boolean)
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), Number]
SilenceMs = Annotated[int, AfterValidator(_clamp_silence), Number]
Prompt = Annotated[str, Field(max_length=PROMPT_CHARACTERS_MAX)]


class Adjustable(BaseModel):
    """Parameters that may be given at the start and changed later."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    end_of_turn_confidence_threshold: Fraction | None = None
    min_turn_silence: SilenceMs | None = None
    max_turn_silence: SilenceMs | None = None
    vad_threshold: Fraction | None = None
    format_turns: bool | None = None
    filter_profanity: bool | None = None
    keyterms_prompt: Annotated[list[str], AfterValidator(_keyterms)] | None = None
    session_heartbeat: bool | None = None

    # Known and checked, without effect here: see unavailable.py.
    prompt: Prompt | None = None
    agent_context: Prompt | None = None
    language_codes: Annotated[list[str], AfterValidator(_language_codes)] | None = None
    interruption_delay: Annotated[int, Field(ge=0, le=1000), Number] | None = None
    turn_left_pad_ms: Annotated[int, Field(ge=0), Number] | None = None
    acknowledge_silence: bool | None = None
    continuous_partials: bool | None = None
    mode: Literal["min_latency", "balanced", "max_accuracy"] | None = None


Model = TypeVar("Model", bound=Adjustable)


def validate(model: type[Model], given: Mapping[str, object]) -> Model:
    """Check ``given`` by the names clients use. Raises SessionError 3006 naming the first bad one as it was given."""
    values: dict[str, object] = {}
    given_as: dict[str, str] = {}
    for name, value in given.items():
        canonical = ALIASES.get(name, name)
        if canonical == name or canonical not in given:
            values[canonical] = value
            given_as[canonical] = name
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refusal(error, given_as) from None


def _refusal(error: ValidationError, given_as: Mapping[str, str]) -> SessionError:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = str(problem["loc"][0])
    return invalid_parameter(given_as.get(name, name), problem["msg"])
