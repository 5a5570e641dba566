from hypothesis import given
from hypothesis import strategies as st

from streamstack_license_proxy.pacing import (
    ANSWER_SECONDS,
    JITTER,
    SHORTEST_SECONDS,
    answer_holds_seconds,
    interval_seconds,
    pause_seconds,
)

SETTINGS = st.floats(0.1, 3600)


@given(interval=SETTINGS, failures=st.integers(0, 10**6), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_are_jittered_back_off_and_never_exceed_what_an_answer_holds(
    interval: float, failures: int, chance: float
) -> None:
    pause = pause_seconds(interval, failures, chance)
    assert 0 < pause <= interval * (1 + JITTER)
    assert pause + ANSWER_SECONDS <= answer_holds_seconds(interval)
    if failures:
        ceiling = min(interval, 2.0 ** min(failures - 1, 40))
        assert ceiling / 2 <= pause <= ceiling
    else:
        assert pause >= interval * (1 - JITTER)


@given(setting=SETTINGS, window=st.integers(0, 366 * 86_400))
def test_no_setting_stretches_a_trust_window(setting: float, window: int) -> None:
    interval = interval_seconds(setting, window)
    assert 0 < interval <= setting
    shortest = answer_holds_seconds(SHORTEST_SECONDS)
    assert answer_holds_seconds(interval) <= max(shortest, window) + 1
