import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.session.audio_buffer import AudioBuffer
from streamstack_gateway.session.budget import ByteBudget


def test_samples_are_read_back_by_their_position_after_a_trim() -> None:
    buffer = AudioBuffer(ByteBudget(1000))
    buffer.append(b"aabbcc")
    buffer.trim(1)
    assert buffer.read(1, 3) == b"bbcc"
    assert (buffer.start, buffer.end) == (1, 3)


def test_reading_what_was_forgotten_is_an_error_that_names_the_positions() -> None:
    buffer = AudioBuffer(ByteBudget(1000))
    buffer.append(b"aabb")
    buffer.trim(1)
    with pytest.raises(IndexError, match="samples 0 to 2 asked for, 1 to 2 held"):
        buffer.read(0, 2)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 50)),
            st.tuples(st.just("trim"), st.integers(-5, 200)),
        )
    )
)
def test_the_budget_holds_exactly_what_the_buffers_hold(steps: list[tuple[str, int]]) -> None:
    budget = ByteBudget(100)
    buffer, other = AudioBuffer(budget), AudioBuffer(budget)
    other.append(b"xxxx")
    everything = bytearray()
    for step, number in steps:
        if step == "append":
            pcm = bytes(len(everything) + i & 0xFF for i in range(number * 2))
            everything += pcm
            buffer.append(pcm)
        else:
            buffer.trim(number)
        assert budget.used == len(buffer) + 4
        assert buffer.read(buffer.start, buffer.end) == everything[buffer.start * 2 :]
    buffer.release()
    assert budget.used == 4


def test_admission_closes_at_seventy_percent_and_sessions_end_above_all_of_it() -> None:
    budget = ByteBudget(100)
    budget.used = 69
    assert budget.admits
    budget.used = 70
    assert not budget.admits
    assert not budget.exceeded
    budget.used = 101
    assert budget.exceeded
