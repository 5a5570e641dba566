import contextlib
from collections.abc import Iterator

import pytest

from streamstack_gateway import errors
from streamstack_gateway.errors import Code, SessionError

TABLE = [
    (errors.missing_authorization(), 1008, "Unauthorized Connection: Missing Authorization header"),
    (errors.invalid_authorization(), 1008, "Unauthorized Connection: Invalid API key"),
    (errors.license_refused("License expired"), 1008, "Unauthorized Connection: License expired"),
    (errors.too_many_sessions(), 3009, "Unauthorized Connection: Too many concurrent sessions"),
    (errors.audio_duration(25), 3007,
     "Input Duration Error: Input Duration Violation: 25.0 ms. Expected between 50 and 1000 ms"),
    (errors.audio_rate(400, 20.25), 3007,
     "Audio Transmission Rate Exceeded: Received 400.0 sec. audio in 20.2 sec"),
    (errors.inactivity(30), 3006,
     "Session terminated due to inactivity: No messages received for 30 seconds"),
    (errors.expired(), 3008, "Session Expired: Maximum session duration exceeded"),
    (errors.internal(), 3005, "Session Cancelled: An error occurred"),
    (errors.invalid_message("[]"), 3006, "Invalid Message: []"),
    (errors.invalid_message_type("Shout"), 3006, "Invalid Message Type: Shout"),
    (errors.invalid_json("{oops"), 3006, "User Input Validation Error: Invalid JSON: {oops"),
    (errors.sample_rate_too_low(8000), 3006, "User Input Validation Error: sample_rate must be at least 8,000 Hz"),
    (errors.unknown_encoding("flac"), 3006, "User Input Validation Error: 'flac' is not a valid Encoding"),
]  # fmt: skip

OTHERS = [
    (errors.pool_full("english"), 3009, "'english'"),
    (errors.retired(), 1013, "no new sessions"),
    (errors.overloaded(), 1013, "overloaded"),
    (errors.no_recognition(600.0), 3005, "600 seconds"),
    (errors.unknown_model("u9", ["a", "b", "c"]), 3006, "Invalid 'speech_model': Input should be 'a', 'b' or 'c'"),
    (errors.model_without_pool("u3-pro"), 3006, "'u3-pro' is not deployed"),
    (errors.buffer_budget(), 1013, "buffers are full"),
    (errors.client_not_reading(), 3005, "does not read"),
    (errors.message_too_large(70_000, 65_536), 3006, "70000 bytes. Expected at most 65536"),
    (errors.invalid_parameter("mode", "Input should be 'x'"), 3006, "Invalid 'mode': Input should be 'x'"),
    (errors.invalid_request("Invalid path"), 3006, "Invalid path"),
]


@pytest.mark.parametrize(("error", "code", "text"), TABLE, ids=lambda value: getattr(value, "reason", ""))
def test_documented_ends_carry_the_documented_code_and_text(error, code, text):
    assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize(("error", "code", "part"), OTHERS, ids=lambda value: getattr(value, "reason", ""))
def test_our_own_ends_say_what_was_wrong(error, code, part):
    assert error.code == code
    assert part in error.message


def test_the_clients_words_are_quoted_short_and_printable():
    assert errors.quoted("a\n\x00\ud800b") == "a\N{REPLACEMENT CHARACTER}" + "\N{REPLACEMENT CHARACTER}" * 2 + "b"
    assert errors.quoted("x" * 1000) == "x" * 100 + "..."


def test_a_session_error_passes_through_a_context_manager():
    @contextlib.contextmanager
    def somewhere() -> Iterator[None]:
        yield

    with pytest.raises(SessionError) as caught, somewhere():
        raise errors.expired()

    assert caught.value.code is Code.EXPIRED
    assert str(caught.value) == "3008 expired: Session Expired: Maximum session duration exceeded"
