"""What clients may ask of the v3 API that this deployment does not do: a warning each, never silence, never a refusal.

The hosted service publishes no warning codes, so these are our own: 6001 and up, one for each parameter, never reused.
"""

from collections.abc import Mapping
from enum import IntEnum

from streamstack_gateway.dialects.events import Warned


class WarningCode(IntEnum):
    """``warning_code`` of a parameter that has no effect."""

    SPEAKER_LABELS = 6001
    REDACT_PII = 6002
    WEBHOOK_URL = 6003
    LLM_GATEWAY = 6004
    DOMAIN = 6005
    VOICE_FOCUS = 6006
    CUSTOMER_SUPPORT_AUDIO_CAPTURE = 6007
    MODE = 6008
    CONTINUOUS_PARTIALS = 6009
    INTERRUPTION_DELAY = 6010
    ACKNOWLEDGE_SILENCE = 6011
    TURN_LEFT_PAD_MS = 6012
    PROMPT = 6013
    AGENT_CONTEXT = 6014
    PREVIOUS_CONTEXT_N_TURNS = 6015
    LANGUAGE_CODES = 6016


_CONSEQUENCE = {
    WarningCode.SPEAKER_LABELS: "words carry no speaker",
    WarningCode.REDACT_PII: "transcripts are not redacted",
    WarningCode.WEBHOOK_URL: "transcripts leave this deployment on this socket only",
    WarningCode.LLM_GATEWAY: "no language model is called",
    WarningCode.DOMAIN: "the general model answers",
    WarningCode.VOICE_FOCUS: "audio is recognised as it comes",
    WarningCode.CUSTOMER_SUPPORT_AUDIO_CAPTURE: "no audio is kept",
    WarningCode.MODE: "set min_turn_silence and max_turn_silence instead",
    WarningCode.CONTINUOUS_PARTIALS: "partial turns are sent as words appear; include_partial_turns=false stops them",
    WarningCode.INTERRUPTION_DELAY: "partial turns are sent as words appear",
    WarningCode.ACKNOWLEDGE_SILENCE: "silence is not reported",
    WarningCode.TURN_LEFT_PAD_MS: "turns begin at their first word",
    WarningCode.PROMPT: "use keyterms_prompt for single words",
    WarningCode.AGENT_CONTEXT: "use keyterms_prompt for single words",
    WarningCode.PREVIOUS_CONTEXT_N_TURNS: "every turn is recognised by itself",
    WarningCode.LANGUAGE_CODES: "a session has one language, or finds it itself, from its start on",
}

# Values that ask for nothing but what happens anyway; agent frameworks send some of them by default.
_ALREADY_SO: dict[str, object] = {"mode": "balanced", "continuous_partials": True}


def warnings_for(asked: Mapping[str, object]) -> tuple[Warned, ...]:
    """Warnings for the parameters (by canonical name) that ask for something real; ``asked`` may hold others too.

    Parameters that only shape one of these (``max_speakers``, ``redact_pii_sub``, ``voice_focus_threshold``,
    ``webhook_auth_*``) ask for nothing by themselves.
    """
    return tuple(
        Warned(code.value, f"'{code.name.lower()}' has no effect on this deployment: {consequence}")
        for code, consequence in _CONSEQUENCE.items()
        if _asks(code.name.lower(), asked.get(code.name.lower()))
    )


def _asks(name: str, value: object) -> bool:
    if value is None:
        return False
    if name in _ALREADY_SO:
        return value != _ALREADY_SO[name]
    return bool(value)
