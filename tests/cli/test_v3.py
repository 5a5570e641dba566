"""The client's side of the streaming API."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli import v3

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def turn(**changes: Any) -> dict[str, Any]:
    words = [{"text": "turn", "word_is_final": True}, {"text": "lef", "word_is_final": False}]
    message = {"type": "Turn", "turn_order": 3, "turn_is_formatted": False, "end_of_turn": False}
    return {**message, "transcript": "turn", "words": words, **changes}


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("ws://localhost:8080", "ws://localhost:8080/v3/ws"),
        ("ws://localhost:8080/", "ws://localhost:8080/v3/ws"),
        ("wss://speech.example.org/v3/ws", "wss://speech.example.org/v3/ws"),
        ("wss://speech.example.org/tenant/a", "wss://speech.example.org/tenant/a"),
    ],
)
def test_an_endpoint_without_a_path_gets_that_of_sessions(endpoint: str, expected: str) -> None:
    url = v3.session_url(endpoint, sample_rate=16_000, encoding="pcm_s16le")
    assert url.partition("?")[0] == expected


def test_a_session_asks_for_what_was_wished_and_keeps_the_endpoints_own_query() -> None:
    url = v3.session_url(
        "wss://h?token=a%26b", sample_rate=8_000, encoding="pcm_mulaw", speech_model="u3-pro", language=""
    )
    assert parse_qs(urlsplit(url).query) == {
        "token": ["a&b"], "sample_rate": ["8000"], "encoding": ["pcm_mulaw"], "format_turns": ["true"],
        "speech_model": ["u3-pro"],
    }  # fmt: skip


@pytest.mark.parametrize("endpoint", ["", "localhost:8080", "http://localhost", "ws://", "ws://h:port", "ws://[::1"])
def test_what_is_no_endpoint_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(v3.EndpointError, match="endpoint"):
        v3.session_url(endpoint, sample_rate=16_000, encoding="pcm_s16le")


def test_a_partial_shows_words_that_may_still_change() -> None:
    assert v3.parse(json.dumps(turn())) == v3.Turn(3, end_of_turn=False, is_formatted=False, text="turn lef")


def test_a_final_shows_its_transcript() -> None:
    message = turn(end_of_turn=True, turn_is_formatted=True, transcript="Turn left.")
    assert v3.parse(json.dumps(message)) == v3.Turn(3, end_of_turn=True, is_formatted=True, text="Turn left.")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "Begin", "id": "x", "expires_at": 1}, v3.Begin("x", "")),
        ({"type": "Begin", "id": "x", "configuration": {"model": "m"}}, v3.Begin("x", "m")),
        ({"type": "Termination", "audio_duration_seconds": 7}, v3.Termination(7)),
        ({"type": "Error", "error_code": 3006, "error": "bad"}, v3.Problem(3006, "bad", fatal=True)),
        ({"type": "Warning", "warning_code": 1, "warning": "hm"}, v3.Problem(1, "hm", fatal=False)),
        ({"type": "Heartbeat"}, v3.Other("Heartbeat")),
    ],
)
def test_messages_become_facts(message: dict[str, Any], expected: v3.Message) -> None:
    assert v3.parse(json.dumps(message)) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"type": 1}', json.dumps(turn(words=[1]))])
def test_what_no_server_should_say_is_a_protocol_error(text: str) -> None:
    with pytest.raises(v3.ProtocolError, match="expected"):
        v3.parse(text)


def test_a_protocol_error_does_not_repeat_what_was_said() -> None:
    with pytest.raises(v3.ProtocolError) as error:
        v3.parse(json.dumps(turn(transcript=["secret"], end_of_turn=True)))
    assert "secret" not in str(error.value)


@given(json_values | st.fixed_dictionaries({"type": st.sampled_from(["Begin", "Turn", "Error"]), "id": json_values}))
def test_any_json_is_a_message_or_a_protocol_error(value: object) -> None:
    with suppress(v3.ProtocolError):
        assert isinstance(v3.parse(json.dumps(value)), v3.Message)


def test_a_close_says_what_it_means_and_why() -> None:
    assert v3.closed(3009, "See Error message for details") == (
        "too many sessions, try again later (close code 3009: See Error message for details)"
    )
    assert v3.closed(4999, "") == "the server closed the connection (close code 4999)"


@pytest.mark.parametrize(
    ("url", "expected"),
    [("ws://localhost:1", True), ("ws://127.0.0.1:1", True), ("ws://[::1]:1", True), ("wss://example.org", False)],
)
def test_loopback_is_recognised(url: str, expected: bool) -> None:
    assert v3.is_loopback(url) is expected
