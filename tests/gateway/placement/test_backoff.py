from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.placement.backoff import FIRST_SECONDS, LAST_SECONDS, Backoff


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_waits_grow_to_the_last_and_are_shortened_by_half_at_most(chance: float, count: int) -> None:
    backoff = Backoff(chance=lambda: chance)
    for n in range(count):
        full = min(LAST_SECONDS, FIRST_SECONDS * 2**n)
        assert full / 2 <= backoff.next_seconds() <= full


@given(st.floats(0, 1, exclude_max=True))
def test_a_reset_begins_with_the_shortest_wait(chance: float) -> None:
    backoff = Backoff(chance=lambda: chance)
    for _ in range(10):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() <= FIRST_SECONDS
