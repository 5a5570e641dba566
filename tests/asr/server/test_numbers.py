from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.server.numbers import UsedNumbers


@given(st.lists(st.integers(0, 40)))
def test_it_holds_exactly_what_was_added_in_as_few_ranges_as_there_are(added: list[int]) -> None:
    numbers = UsedNumbers()
    for number in added:
        numbers.add(number)
    known = set(added)
    assert [number for number in range(-1, 43) if number in numbers] == sorted(known)
    assert len(numbers) == sum(number - 1 not in known for number in known)


def test_a_gateway_that_counts_needs_one_range() -> None:
    numbers = UsedNumbers()
    for number in range(1, 10_000):
        numbers.add(number)
    assert len(numbers) == 1
