"""Text messages of a client to what it wants: ``reference/assemblyai-protocol.md`` 7 and 9.

Bad input ends the session (3006); there are no per-message error replies in v3.
"""

import orjson

from streamstack_gateway.dialects.events import ClientEvent, ConfigurationChange, ForceEndpoint, KeepAlive, Terminate
from streamstack_gateway.dialects.v3.fields import Adjustable, validate
from streamstack_gateway.dialects.v3.unavailable import warnings_for
from streamstack_gateway.errors import invalid_json, invalid_message, invalid_message_type, message_too_large

TEXT_BYTES_MAX = 64 * 1024
"""A hundred key terms and two prompts at their limits, in any script, take less than half of it."""

_QUOTED_BYTES = 512  # of a bad message; `quoted` cuts further, by characters

_PLAIN: dict[str, ClientEvent] = {
    "ForceEndpoint": ForceEndpoint(),
    "KeepAlive": KeepAlive(),
    "Terminate": Terminate(),
}


def parse_message(text: bytes) -> ClientEvent:
    """Parse one text message, UTF-8. Raises SessionError 3006."""
    if len(text) > TEXT_BYTES_MAX:
        raise message_too_large(len(text), TEXT_BYTES_MAX)
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid_json(_start_of(text)) from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise invalid_message(_start_of(text))
    if kind == "UpdateConfiguration":
        return _change(message)
    if kind not in _PLAIN:
        raise invalid_message_type(kind)
    return _PLAIN[kind]


def _start_of(text: bytes) -> str:
    return text[:_QUOTED_BYTES].decode("utf-8", "replace")


def _change(message: dict[str, object]) -> ConfigurationChange:
    """A delta: absent and null are unchanged, unknown fields are ignored."""
    update = validate(Adjustable, {name: value for name, value in message.items() if value is not None})
    return ConfigurationChange(
        end_of_turn_confidence_threshold=update.end_of_turn_confidence_threshold,
        min_turn_silence_ms=update.min_turn_silence,
        max_turn_silence_ms=update.max_turn_silence,
        vad_threshold=update.vad_threshold,
        format_turns=update.format_turns,
        filter_profanity=update.filter_profanity,
        keyterms=None if update.keyterms_prompt is None else tuple(update.keyterms_prompt),
        heartbeat=update.session_heartbeat,
        warnings=warnings_for(dict(update)),
    )
