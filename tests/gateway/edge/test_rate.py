from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.edge.rate import BURST_MESSAGES, MESSAGES_PER_SECOND, MessageRate


def test_a_client_in_real_time_never_waits() -> None:
    rate = MessageRate(0.0)
    assert all(rate.spend(1, number * 0.02) == 0.0 for number in range(100_000))


def test_a_burst_passes_and_what_follows_comes_at_the_rate() -> None:
    rate = MessageRate(0.0)
    assert rate.spend(BURST_MESSAGES, 0.0) == 0.0
    assert rate.spend(MESSAGES_PER_SECOND, 0.0) == 1.0
    assert rate.spend(1, 1.0) == 1 / MESSAGES_PER_SECOND


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 5)), max_size=50))
def test_a_client_that_waits_as_told_never_exceeds_burst_and_rate(steps: list[tuple[int, float]]) -> None:
    rate, now, sent = MessageRate(0.0), 0.0, 0
    for messages, pause in steps:
        allowed = BURST_MESSAGES + now * MESSAGES_PER_SECOND
        assert sent <= allowed + 1e-6
        now += rate.spend(messages, now) + pause
        sent += messages
