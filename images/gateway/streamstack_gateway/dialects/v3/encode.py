"""What a client is told, as v3 JSON: ``reference/assemblyai-protocol.md`` 5.

Optional keys are left out, never null (a null ``language_code`` makes LiveKit raise), ``utterance`` is always there,
and no message but ``Error`` has a key ``error`` (the Node SDK takes any such message for one).
"""

import orjson

from streamstack_gateway.dialects.events import Begun, Failure, Heartbeat, ServerEvent, Terminated, Turn, Warned

API_VERSION = "2025-05-12"

Fields = dict[str, object]


def encode(event: ServerEvent) -> bytes:
    """Encode one message, UTF-8 JSON.

    A session sends about six turns a second and a gateway holds many sessions: a dictionary straight into orjson takes
    3 microseconds for ten words here, less than any cache of encoded words that has to look a word up by value.
    """
    match event:
        case Turn():
            return orjson.dumps(_turn(event))
        case Begun():
            return orjson.dumps(_begin(event))
        case Heartbeat():
            return orjson.dumps(_heartbeat(event))
        case Warned():
            return orjson.dumps({"type": "Warning", "warning_code": int(event.code), "warning": event.message})
        case Terminated():
            return orjson.dumps(_termination(event))
        case Failure():
            return orjson.dumps({"type": "Error", "error_code": int(event.code), "error": event.message})


def _turn(turn: Turn) -> Fields:
    fields: Fields = {
        "type": "Turn",
        "turn_order": turn.turn_order,
        "turn_is_formatted": turn.is_formatted,
        "end_of_turn": turn.end_of_turn,
        "transcript": turn.transcript,
        "end_of_turn_confidence": turn.end_of_turn_confidence,
        "words": [
            {
                "start": word.start_ms,
                "end": word.end_ms,
                "text": word.text,
                "confidence": word.confidence,
                "word_is_final": word.is_final,
            }
            for word in turn.words
        ],
        "utterance": turn.utterance,
    }
    if turn.language_code is not None:
        fields["language_code"] = turn.language_code
    if turn.language_confidence is not None:
        fields["language_confidence"] = turn.language_confidence
    return fields


def _begin(begun: Begun) -> Fields:
    # The eight keys seen live (5.1); the constant ones are what this deployment does not do, see unavailable.py.
    return {
        "type": "Begin",
        "id": begun.session_id,
        "expires_at": begun.expires_at,
        "configuration": {
            "model": begun.model,
            "mode": None,
            "api_version": API_VERSION,
            "speaker_labels": False,
            "redact_pii": False,
            "filter_profanity": begun.filter_profanity,
            "domain": None,
            "voice_focus": None,
        },
    }


def _heartbeat(heartbeat: Heartbeat) -> Fields:
    return {
        "type": "Heartbeat",
        "total_audio_received_ms": heartbeat.total_audio_received_ms,
        "total_duration_ms": heartbeat.total_duration_ms,
        "realtime_factor": heartbeat.realtime_factor,
        "max_speech_probability": heartbeat.max_speech_probability,
    }


def _termination(terminated: Terminated) -> Fields:
    # Whole seconds: a fraction kills the Python SDK's reading thread (5.4).
    return {
        "type": "Termination",
        "audio_duration_seconds": terminated.audio_duration_seconds,
        "session_duration_seconds": terminated.session_duration_seconds,
    }
