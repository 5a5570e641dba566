"""What counts as late, and when a level is good enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli.calibration.measures import Tally, judge, percentile
from streamstack_common.calibration import Target

TARGET = Target(percentile=95, latency_ms=300, late_chunk_rate=0.001)


def tally(*latencies: float, chunk_seconds: float = 0.56) -> Tally:
    return Tally(chunk_seconds, latencies=list(latencies))


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.1, 99.9))
def test_a_percentile_is_a_value_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6
    lower = [value for value in values if value < found]
    assert len(lower) < len(values) * percent / 100 + 1e-6


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 95)


def test_a_level_within_the_target_is_met() -> None:
    level = judge(10, tally(*[0.02] * 50, *[0.25] * 49, 0.29), TARGET)
    assert (level.met, level.reason, level.sessions, level.chunks) == (True, "", 10, 100)
    assert level.latency is not None
    assert (level.latency.p50_ms, level.latency.p95_ms, level.latency.p99_ms) == (20, 250, 250)


def test_a_percentile_above_the_target_is_named() -> None:
    level = judge(10, tally(*[0.02] * 90, *[0.4] * 10), TARGET)
    assert (level.met, level.reason, level.late_chunk_rate) == (False, "p95 400 ms, above 300 ms", 0)


def test_a_chunk_is_late_when_it_takes_longer_than_the_chunk_itself() -> None:
    assert tally(0.56, 0.561, 0.1).late == 1
    assert tally(0.16, 0.161, 0.1, chunk_seconds=0.16).late == 1


def test_one_late_chunk_in_a_thousand_is_allowed_and_two_are_not() -> None:
    assert judge(1, tally(*[0.1] * 999, 0.6), TARGET).met
    assert judge(1, tally(*[0.1] * 998, 0.6, 0.6), TARGET).reason == "0.20% late chunks, above 0.10%"


def test_what_went_wrong_with_sessions_fails_a_level_however_fast_the_others_were() -> None:
    broken = tally(*[0.01] * 100)
    broken.failures = ["a session was closed, BACKLOG: far ahead"] * 7
    level = judge(5, broken, TARGET)
    assert (level.met, level.reason) == (False, "a session was closed, BACKLOG: far ahead")


def test_a_level_without_a_chunk_proves_nothing() -> None:
    level = judge(5, tally(), TARGET)
    assert (level.met, level.latency) == (False, None)
    assert "expected a longer one" in level.reason


def test_a_level_that_failed_while_measuring_was_itself_at_its_limit_says_so() -> None:
    slow = tally(*[0.5] * 10)
    slow.driver_share = 0.97
    assert "measuring itself took 97% of a core" in judge(5, slow, TARGET).reason
    fast = tally(*[0.1] * 10)
    fast.driver_share = 0.97
    assert judge(5, fast, TARGET).reason == ""
