import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.audio.rules import FrameRules
from streamstack_gateway.errors import Code, SessionError


def messages_taken(rules: FrameRules, durations: list[float]) -> int:
    for taken, duration_ms in enumerate(durations):
        try:
            rules.check(duration_ms)
        except SessionError:
            return taken
    return len(durations)


@pytest.mark.parametrize("duration_ms", [50.0, 100.0, 1000.0])
def test_messages_of_50_to_1000_ms_pass_for_ever(duration_ms):
    assert messages_taken(FrameRules(), [duration_ms] * 1000) == 1000


def test_a_message_over_a_second_ends_the_session_at_once():
    with pytest.raises(SessionError) as caught:
        FrameRules().check(1000.0625)

    assert caught.value.code is Code.INVALID_AUDIO
    assert caught.value.reason == "audio_duration"
    assert caught.value.message == (
        "Input Duration Error: Input Duration Violation: 1000.1 ms. Expected between 50 and 1000 ms"
    )


def test_the_forty_ninth_frame_of_20_ms_in_a_row_ends_the_session():
    rules = FrameRules()

    assert messages_taken(rules, [20.0] * 48) == 48
    with pytest.raises(SessionError, match=r"Violation: 20\.0 ms"):
        rules.check(20.0)


def test_short_tails_between_proper_frames_are_tolerated():
    # 20 ms is LiveKit's at a flush, 30 ms Pipecat's before Terminate.
    assert messages_taken(FrameRules(), [50.0, 20.0, 50.0, 30.0] * 500) == 2000


def test_empty_messages_neither_end_nor_excuse_a_run_of_short_ones():
    assert messages_taken(FrameRules(), [0.0] * 10_000) == 10_000
    assert messages_taken(FrameRules(), [20.0, 0.0] * 49) == 96


def test_short_messages_can_be_allowed():
    assert messages_taken(FrameRules(short_run_ms=None), [10.0] * 10_000) == 10_000


@given(st.lists(st.floats(0, 49.9), max_size=60))
def test_less_than_a_second_of_short_messages_is_never_an_error(durations):
    total = 0.0
    fitting = []
    for duration_ms in durations:
        total += duration_ms
        if total >= 980:
            break
        fitting.append(duration_ms)

    assert messages_taken(FrameRules(), fitting) == len(fitting)
