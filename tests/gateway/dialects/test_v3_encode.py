import json
import math
import uuid

import pytest
from assemblyai.streaming.v3 import models as sdk
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.dialects.events import Begun, Failure, Heartbeat, Terminated, Turn, Warned, Word
from streamstack_gateway.dialects.v3 import V3
from streamstack_gateway.errors import expired

fractions = st.floats(0, 1)
positions = st.integers(0, 10_800_000)
words = st.builds(Word, st.text(), positions, positions, fractions, st.booleans())
turns = st.builds(
    Turn,
    turn_order=st.integers(0, 100_000),
    is_formatted=st.booleans(),
    end_of_turn=st.booleans(),
    transcript=st.text(),
    end_of_turn_confidence=fractions,
    words=st.lists(words, max_size=12).map(tuple),
    utterance=st.text(),
    language_code=st.none() | st.sampled_from(["en", "fr"]),
    language_confidence=st.none() | fractions,
)


def sent(event):
    return json.loads(V3().send(event))


@given(turns)
def test_a_turn_reads_back_as_it_was_and_the_sdk_takes_it(turn):
    message = sent(turn)

    assert message.pop("type") == "Turn"
    read_back = Turn(
        turn_order=message.pop("turn_order"),
        is_formatted=message.pop("turn_is_formatted"),
        end_of_turn=message.pop("end_of_turn"),
        transcript=message.pop("transcript"),
        end_of_turn_confidence=message.pop("end_of_turn_confidence"),
        words=tuple(
            Word(
                word.pop("text"), word.pop("start"), word.pop("end"), word.pop("confidence"), word.pop("word_is_final")
            )
            for word in message["words"]
        ),
        utterance=message.pop("utterance"),
        language_code=message.pop("language_code", None),
        language_confidence=message.pop("language_confidence", None),
    )
    assert read_back == turn
    assert message == {"words": [{} for _ in turn.words]}
    assert sdk.TurnEvent.model_validate(sent(turn)).transcript == turn.transcript


def test_what_is_not_known_is_left_out_and_the_utterance_is_not():
    message = sent(Turn(0, is_formatted=False, end_of_turn=False, transcript="", end_of_turn_confidence=0.0, words=()))

    assert message["utterance"] == ""
    assert "language_code" not in message
    assert "language_confidence" not in message
    assert message["words"] == []


def test_begin_says_who_answers_and_has_the_eight_keys_of_the_live_service():
    session_id = str(uuid.uuid4())

    message = sent(Begun(session_id, 1_790_000_000, "universal-streaming-english", filter_profanity=True))

    assert message == {
        "type": "Begin",
        "id": session_id,
        "expires_at": 1_790_000_000,
        "configuration": {
            "model": "universal-streaming-english",
            "mode": None,
            "api_version": "2025-05-12",
            "speaker_labels": False,
            "redact_pii": False,
            "filter_profanity": True,
            "domain": None,
            "voice_focus": None,
        },
    }
    assert sdk.BeginEvent.model_validate(message).configuration.model == "universal-streaming-english"


@pytest.mark.parametrize(
    ("event", "message", "model"),
    [
        (
            Terminated(12, 15),
            {"type": "Termination", "audio_duration_seconds": 12, "session_duration_seconds": 15},
            sdk.TerminationEvent,
        ),
        (
            Heartbeat(5000, 5001, 0.999, 0.5),
            {
                "type": "Heartbeat",
                "total_audio_received_ms": 5000,
                "total_duration_ms": 5001,
                "realtime_factor": 0.999,
                "max_speech_probability": 0.5,
            },
            sdk.HeartbeatEvent,
        ),
        (Warned(6003, "no"), {"type": "Warning", "warning_code": 6003, "warning": "no"}, sdk.WarningEvent),
        (Failure(3006, "bad"), {"type": "Error", "error_code": 3006, "error": "bad"}, sdk.ErrorEvent),
    ],
)
def test_other_messages_are_the_documented_ones(event, message, model):
    assert sent(event) == message
    model.model_validate(message)


def test_the_code_of_an_error_is_a_plain_number():
    error = expired()

    assert sent(Failure(error.code, error.message))["error_code"] == 3008


@given(turns | st.builds(Warned, st.integers(0, 9999), st.text()) | st.builds(Terminated, positions, positions))
def test_only_an_error_has_a_key_named_error(event):
    assert "error" not in sent(event)


def test_numbers_are_numbers():
    word = Word("a", 80, 160, 1.0, is_final=True)
    message = sent(
        Turn(3, is_formatted=True, end_of_turn=True, transcript="a", end_of_turn_confidence=1.0, words=(word,))
    )

    assert type(message["turn_order"]) is int
    assert type(message["words"][0]["start"]) is int
    assert math.isclose(message["end_of_turn_confidence"], 1.0)
