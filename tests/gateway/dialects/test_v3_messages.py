import json

import pytest
from assemblyai.streaming.v3 import models as sdk
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.dialects.events import ConfigurationChange, ForceEndpoint, KeepAlive, Terminate
from streamstack_gateway.dialects.v3 import V3
from streamstack_gateway.dialects.v3.messages import TEXT_BYTES_MAX
from streamstack_gateway.dialects.v3.unavailable import WarningCode
from streamstack_gateway.errors import Code, SessionError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = [*ConfigurationChange.__dataclass_fields__, "min_turn_silence", "max_turn_silence", "keyterms_prompt", "mode"]


def receive(message: object):
    return V3().receive(json.dumps(message).encode())


def event_or_error(text: bytes):
    try:
        return V3().receive(text)
    except SessionError as error:
        return error


def refusal(text: bytes) -> SessionError:
    with pytest.raises(SessionError) as caught:
        V3().receive(text)
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (sdk.ForceEndpoint(), ForceEndpoint()),
        (sdk.KeepAlive(), KeepAlive()),
        (sdk.TerminateSession(), Terminate()),
    ],
)
def test_the_sdks_messages_are_understood(message, event):
    assert V3().receive(message.model_dump_json().encode()) == event


def test_spelling_of_the_json_does_not_matter():
    assert V3().receive(b' {"x": 1, "type" : "Terminate"}\n') == Terminate()


def test_an_update_changes_what_it_names_and_nothing_else():
    assert receive({"min_turn_silence": 300, "keyterms_prompt": ["Kowalczyk"], "type": "UpdateConfiguration"}) == (
        ConfigurationChange(min_turn_silence_ms=300, keyterms=("Kowalczyk",))
    )
    assert receive({"type": "UpdateConfiguration"}) == ConfigurationChange()


def test_every_field_that_is_honoured_can_be_updated():
    update = sdk.UpdateConfiguration(
        end_of_turn_confidence_threshold=0.0,
        min_turn_silence=60,
        max_turn_silence=20_000,
        vad_threshold=1,
        format_turns=False,
        filter_profanity=True,
        keyterms_prompt=[],
        session_heartbeat=True,
    )

    assert V3().receive(update.model_dump_json().encode()) == ConfigurationChange(
        end_of_turn_confidence_threshold=0.0,
        min_turn_silence_ms=60,
        max_turn_silence_ms=10_000,
        vad_threshold=1.0,
        format_turns=False,
        filter_profanity=True,
        keyterms=(),
        heartbeat=True,
    )


def test_null_is_unchanged_and_unknown_fields_are_ignored():
    fields = dict.fromkeys(FIELDS)

    assert receive({"type": "UpdateConfiguration", "whatever": [1], **fields}) == ConfigurationChange()


def test_old_names_still_work_and_the_new_one_wins():
    update = {"type": "UpdateConfiguration", "min_end_of_turn_silence_when_confident": 700}

    assert receive(update) == ConfigurationChange(min_turn_silence_ms=700)
    assert receive({**update, "min_turn_silence": 100}) == ConfigurationChange(min_turn_silence_ms=100)


def test_updates_without_effect_are_answered_with_warnings():
    change = receive({"type": "UpdateConfiguration", "prompt": "p", "mode": "min_latency", "continuous_partials": True})

    assert [warning.code for warning in change.warnings] == [WarningCode.MODE, WarningCode.PROMPT]


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        (b"hello", "invalid_json", "User Input Validation Error: Invalid JSON: hello"),
        (b"", "invalid_json", "User Input Validation Error: Invalid JSON: "),
        (b'{"type":"Terminate"', "invalid_json", 'User Input Validation Error: Invalid JSON: {"type":"Terminate"'),
        (b"[]", "invalid_message", "Invalid Message: []"),
        (b"5", "invalid_message", "Invalid Message: 5"),
        (b"null", "invalid_message", "Invalid Message: null"),
        (b"{}", "invalid_message", "Invalid Message: {}"),
        (b'{"type":"Shout"}', "invalid_message_type", "Invalid Message Type: Shout"),
        (b'{"type":null}', "invalid_message", 'Invalid Message: {"type":null}'),
        (b'{"type":["Terminate"]}', "invalid_message", 'Invalid Message: {"type":["Terminate"]}'),
        (b'{"type":"terminate"}', "invalid_message_type", "Invalid Message Type: terminate"),
    ],
)
def test_what_is_no_message_ends_the_session_with_the_documented_text(text, reason, message):
    error = refusal(text)

    assert (error.reason, error.message) == (reason, message)


def test_bad_text_is_quoted_in_part_and_printable():
    long, binary = refusal(b"x" * 5000), refusal(b"\xff\x00\n")

    assert long.message == f"User Input Validation Error: Invalid JSON: {'x' * 100}..."
    assert binary.message.endswith("Invalid JSON: " + "\N{REPLACEMENT CHARACTER}" * 3)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("min_turn_silence", "soon", "Input should be a valid integer"),
        ("min_turn_silence", True, "Input should be a number"),
        ("max_turn_silence", 1.5, "Input should be a valid integer"),
        ("min_end_of_turn_silence_when_confident", [], "Input should be a valid integer"),
        ("end_of_turn_confidence_threshold", 1.1, "Input should be less than or equal to 1"),
        ("vad_threshold", -1, "Input should be greater than or equal to 0"),
        ("format_turns", "maybe", "Input should be a valid boolean"),
        ("keyterms_prompt", "word", "Input should be a valid list"),
        ("keyterms_prompt", [1], "Input should be a valid string"),
        ("keyterms_prompt", ["w"] * 101, "Max 100 items"),
        ("prompt", "p" * 1751, "String should have at most 1750 characters"),
        ("language_codes", ["multi", "en"], "Input should be 'multi' alone"),
        ("mode", "fast", "Input should be 'min_latency', 'balanced' or 'max_accuracy'"),
        ("interruption_delay", 1001, "Input should be less than or equal to 1000"),
    ],
)
def test_a_bad_value_ends_the_session_and_is_named(field, value, expected):
    error = refusal(json.dumps({"type": "UpdateConfiguration", field: value}).encode())

    assert error.reason == "invalid_parameter"
    assert error.message.startswith(f"User Input Validation Error: Invalid '{field}': {expected}")


def test_a_message_that_is_too_large_is_not_even_parsed():
    assert refusal(b" " * (TEXT_BYTES_MAX + 1)).reason == "message_too_large"
    assert V3().receive(b'{"type":"KeepAlive"}'.ljust(TEXT_BYTES_MAX)) == KeepAlive()


def test_nesting_without_end_is_contained():
    deep = b"[" * 900 + b"]" * 900

    assert refusal(b"[" * TEXT_BYTES_MAX).reason == "invalid_json"
    assert refusal(b'{"type":%b}' % deep).reason == "invalid_message"
    assert refusal(b'{"type":"UpdateConfiguration","prompt":%b}' % deep).reason == "invalid_parameter"


@given(st.binary() | st.text().map(str.encode))
def test_no_text_does_anything_but_end_its_session(text):
    outcome = event_or_error(text)

    if isinstance(outcome, SessionError):
        assert outcome.code is Code.INVALID_INPUT
        assert outcome.message.isprintable()


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_no_update_does_anything_but_end_its_session(fields):
    outcome = event_or_error(json.dumps({**fields, "type": "UpdateConfiguration"}).encode())

    if isinstance(outcome, SessionError):
        assert outcome.code is Code.INVALID_INPUT
    else:
        assert isinstance(outcome, ConfigurationChange)
        for silence_ms in (outcome.min_turn_silence_ms, outcome.max_turn_silence_ms):
            assert silence_ms is None or 50 <= silence_ms <= 10_000
