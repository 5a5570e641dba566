from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.link.outbox import (
    ITEM_OVERHEAD_BYTES,
    Lane,
    LinkBacklogError,
    Outbox,
    OutboxLimits,
    SessionBacklogError,
)

LIMITS = OutboxLimits(message_bytes=1000, session_bytes=4000, link_bytes=10_000)


def drain(outbox: Outbox) -> list[list[tuple[int, Any]]]:
    """Every message that would be written, as (session, what) pairs."""
    messages = []
    while outbox:
        message: list[tuple[int, Any]] = []
        count = outbox.fill(lambda *, session, message=message, **request: message.append((session, request["n"])))
        assert count == len(message) > 0
        messages.append(message)
    return messages


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 900)), max_size=60))
def test_every_request_accepted_leaves_once_in_order_within_its_session_and_the_message_bound(
    puts: list[tuple[int, int]],
) -> None:
    outbox = Outbox(LIMITS)
    lanes = [Lane(number) for number in range(5)]
    accepted: dict[tuple[int, int], int] = {}
    for n, (number, size) in enumerate(puts):
        try:
            outbox.put(lanes[number], size, {"n": n})
            accepted[number, n] = size + ITEM_OVERHEAD_BYTES
        except SessionBacklogError:
            assert lanes[number].waiting_bytes + size + ITEM_OVERHEAD_BYTES > 1000
        except LinkBacklogError:
            assert outbox.waiting_bytes + size + ITEM_OVERHEAD_BYTES > 10_000
        assert outbox.waiting_bytes == sum(lane.waiting_bytes for lane in lanes) == sum(accepted.values())
    messages = drain(outbox)
    sent = [item for message in messages for item in message]
    assert sorted(sent) == sorted(accepted)
    for number in range(5):
        own = [n for session, n in sent if session == number]
        assert own == sorted(own)
    assert all(sum(accepted[item] for item in message) <= 1000 for message in messages)


@given(st.integers(1, 40), st.integers(2, 6))
def test_a_session_with_a_backlog_delays_the_others_by_one_request_each_at_most(backlog: int, others: int) -> None:
    outbox = Outbox(OutboxLimits())
    slow = Lane(0)
    for n in range(backlog):
        outbox.put(slow, 10, {"n": n})
    for number in range(1, others + 1):
        outbox.put(Lane(number), 10, {"n": 0})
    order = [session for message in drain(outbox) for session, _ in message]
    assert order[: others + 1] == list(range(others + 1))


def test_a_request_larger_than_a_message_is_refused() -> None:
    with pytest.raises(SessionBacklogError):
        Outbox(LIMITS).put(Lane(1), 1000, {"n": 0})


def test_a_session_beyond_its_bound_is_refused_and_its_backlog_stays() -> None:
    outbox, lane = Outbox(LIMITS), Lane(1)
    for n in range(4):
        outbox.put(lane, 900, {"n": n})
    with pytest.raises(SessionBacklogError):
        outbox.put(lane, 900, {"n": 4})
    assert [n for message in drain(outbox) for _, n in message] == [0, 1, 2, 3]


def test_a_link_beyond_its_bound_is_refused_though_every_session_is_within() -> None:
    outbox = Outbox(LIMITS)
    for number in range(10):
        outbox.put(Lane(number), 900, {"n": 0})
    with pytest.raises(LinkBacklogError):
        outbox.put(Lane(10), 900, {"n": 0})


def test_a_last_request_replaces_the_backlog_and_keeps_the_sessions_turn() -> None:
    outbox, first, second = Outbox(LIMITS), Lane(1), Lane(2)
    outbox.put(first, 10, {"n": "audio"})
    outbox.put(second, 10, {"n": "audio"})
    outbox.put(first, 10, {"n": "audio"})
    outbox.replace(first, {"n": "close"})
    assert drain(outbox) == [[(1, "close"), (2, "audio")]]


def test_a_lane_that_was_dropped_and_used_again_takes_one_turn_not_two() -> None:
    outbox, lane, other = Outbox(LIMITS), Lane(1), Lane(2)
    outbox.put(lane, 10, {"n": "gone"})
    outbox.drop(lane)
    outbox.put(other, 10, {"n": 0})
    outbox.put(lane, 10, {"n": 1})
    outbox.put(lane, 10, {"n": 2})
    assert drain(outbox) == [[(1, 1), (2, 0), (1, 2)]]


@given(st.binary(max_size=3000), st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1))
def test_the_overhead_bound_covers_what_a_request_really_adds(pcm: bytes, offset: int, session: int) -> None:
    message = asr_pb2.ToAsr()
    message.requests.add(session=session, audio={"offset": offset, "pcm": pcm})
    assert message.ByteSize() <= len(pcm) + ITEM_OVERHEAD_BYTES
    message = asr_pb2.ToAsr()
    message.requests.add(session=session, end_turn={"turn_id": 2**32 - 1, "through_sample": offset})
    assert message.ByteSize() <= ITEM_OVERHEAD_BYTES
