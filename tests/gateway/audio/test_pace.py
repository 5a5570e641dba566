from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.audio.pace import Pace

SECOND = 16_000


def test_a_burst_of_ten_seconds_goes_at_once():
    assert Pace().released(10 * SECOND, 100.0) == 10 * SECOND


def test_what_exceeds_the_burst_follows_at_a_quarter_more_than_real_time():
    pace = Pace()

    assert pace.released(60 * SECOND, 100.0) == 10 * SECOND
    assert pace.released(60 * SECOND, 104.0) == 15 * SECOND
    for tick in range(104 * 4, 140 * 4):
        pace.released(60 * SECOND, tick / 4)
    assert pace.released(60 * SECOND, 139.75) == int((10 + 1.25 * 39.75) * SECOND)
    assert pace.released(60 * SECOND, 140.0) == 60 * SECOND


def test_a_client_in_real_time_is_never_held_back():
    pace = Pace()

    for frame in range(1, 20_000):
        end = frame * 800
        assert pace.released(end, frame * 0.05) == end


def test_a_client_that_was_silent_may_burst_again_but_not_twice_as_far():
    pace = Pace()
    pace.released(10 * SECOND, 0.0)

    assert pace.released(40 * SECOND, 3600.0) == 20 * SECOND


def test_a_forced_end_takes_everything_and_the_pace_catches_up_afterwards():
    pace = Pace()
    pace.release_all(20 * SECOND)

    assert pace.released(30 * SECOND, 0.0) == 20 * SECOND
    assert pace.released(30 * SECOND, 8.0) == 20 * SECOND
    assert pace.released(30 * SECOND, 12.0) == 25 * SECOND


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 5 * SECOND)), max_size=60))
def test_no_sequence_of_arrivals_gets_past_the_bucket_or_back(arrivals):
    pace = Pace()
    now, end, before, released = 1000.0, 0, 0, 0
    for waited, samples in arrivals:
        now += waited
        end += samples
        released = pace.released(end, now)
        assert before <= released <= end
        assert released <= (10 + 1.25 * (now - 1000.0)) * SECOND + 1
        before = released
    for _ in range(end // (10 * SECOND) + 1):
        now += 8.0
        released = pace.released(end, now)
    assert released == end
