from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.server import encoding
from streamstack_asr.server.outbox import Outbox
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import MAX_MESSAGE_BYTES


class Writer:
    """Counts wakes and statuses."""

    def __init__(self, *, max_backlog_bytes: int = 8 * MAX_MESSAGE_BYTES) -> None:
        self.wakes = 0
        self.statuses = 0
        self.outbox = Outbox(wake=self.wake, status=self.status, max_backlog_bytes=max_backlog_bytes)

    def wake(self) -> None:
        self.wakes += 1

    def status(self) -> bytes:
        self.statuses += 1
        status = asr_pb2.ServerStatus(sequence=self.statuses, models=["a"])
        return asr_pb2.FromAsr(status=status).SerializeToString()

    def take(self) -> asr_pb2.FromAsr:
        return asr_pb2.FromAsr.FromString(self.outbox.take())


def test_an_idle_writer_is_woken_once_and_takes_everything_as_one_message_in_order() -> None:
    writer = Writer()
    for number in range(5):
        writer.outbox.put(encoding.opened(number, "i"))
    assert writer.wakes == 1
    assert [reply.session for reply in writer.take().replies] == [0, 1, 2, 3, 4]
    assert writer.outbox.take() == b""


def test_statuses_that_pile_up_are_one_and_are_made_when_they_are_sent() -> None:
    writer = Writer()
    for _ in range(100):
        writer.outbox.put_status()
    writer.outbox.put(encoding.opened(1, "i"))
    assert writer.statuses == 0
    message = writer.take()
    assert (message.status.sequence, list(message.status.models), len(message.replies)) == (1, ["a"], 1)
    assert writer.outbox.take() == b""


@given(st.lists(st.integers(1, 700_000), max_size=12), st.booleans())
def test_messages_are_bounded_and_nothing_is_lost_or_reordered(lengths: list[int], status: bool) -> None:
    writer = Writer()
    for number, length in enumerate(lengths):
        writer.outbox.put(encoding.closed(number, asr_pb2.Closed.INVALID, "x" * length))
    if status:
        writer.outbox.put_status()
    seen: list[int] = []
    while data := writer.outbox.take():
        assert len(data) <= MAX_MESSAGE_BYTES
        seen += [reply.session for reply in asr_pb2.FromAsr.FromString(data).replies]
    assert seen == list(range(len(lengths)))


def test_a_piece_longer_than_a_message_goes_alone() -> None:
    writer = Writer()
    for number, length in enumerate((10, MAX_MESSAGE_BYTES + 1, 10)):
        writer.outbox.put(encoding.closed(number, asr_pb2.Closed.INVALID, "x" * length))
    assert [[r.session for r in writer.take().replies] for _ in range(3)] == [[0], [1], [2]]


def test_a_writer_that_takes_nothing_makes_it_overflow_once_and_for_all() -> None:
    writer = Writer(max_backlog_bytes=100)
    while not writer.outbox.overflowed:
        writer.outbox.put(encoding.opened(1, "some instance"))
    wakes = writer.wakes
    assert wakes == 2, "once for the first piece, once for the overflow"
    writer.outbox.put(encoding.opened(1, "some instance"))
    assert writer.outbox.take() == b""
    assert writer.wakes == wakes
