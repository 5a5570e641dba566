from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.placement.ports import ServerFacts
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.upstream import Upstream

CHUNK = 1600  # 100 ms


@dataclass
class Server:
    """Records what an attempt is told, and checks that audio has no gap."""

    facts: ServerFacts = field(default_factory=lambda: ServerFacts("one", 200, 100, 1000))
    position: int | None = None
    heard: bytearray = field(default_factory=bytearray)
    ends: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False
    is_congested: bool = False

    def audio(self, offset: int, pcm: bytes) -> None:
        assert self.position is None or offset == self.position
        self.position = offset + len(pcm) // 2
        self.heard += pcm

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        assert self.position is not None
        assert through_sample <= self.position
        self.ends.append((turn_id, through_sample))

    def update(self, config: asr_pb2.SessionConfig) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


def pcm(samples: int, first: int = 0) -> bytes:
    return b"".join((first + i & 0xFFFF).to_bytes(2, "little") for i in range(samples))


def feed(upstream: Upstream, samples: int) -> None:
    upstream.accept(pcm(samples, upstream.buffer.end))
    upstream.released = upstream.buffer.end
    upstream.pump()


def test_audio_goes_out_in_whole_steps_of_the_engine() -> None:
    upstream, server = Upstream(ByteBudget(1 << 20)), Server()
    upstream.opened(server, 0)
    feed(upstream, 800)
    assert server.heard == b""
    feed(upstream, 1000)
    assert len(server.heard) == CHUNK * 2


def test_audio_does_not_run_ahead_of_the_window() -> None:
    upstream, server = Upstream(ByteBudget(1 << 20)), Server()
    upstream.opened(server, 0)
    feed(upstream, 20 * CHUNK)
    assert server.position == 10 * CHUNK
    upstream.progress(3 * CHUNK)
    upstream.pump()
    assert server.position == 13 * CHUNK


def test_a_turn_ends_when_its_audio_is_out_and_not_before() -> None:
    upstream, server = Upstream(ByteBudget(1 << 20)), Server()
    upstream.opened(server, 0)
    feed(upstream, 15 * CHUNK)
    upstream.end_turn(12 * CHUNK + 7)
    assert server.ends == []
    upstream.progress(9 * CHUNK)
    upstream.pump()
    assert server.ends == [(0, 12 * CHUNK + 7)]


def test_a_forced_end_sends_the_rest_of_an_unfinished_step() -> None:
    upstream, server = Upstream(ByteBudget(1 << 20)), Server()
    upstream.opened(server, 0)
    feed(upstream, CHUNK + 100)
    upstream.end_turn(CHUNK + 100)
    assert server.position == CHUNK + 100
    assert server.ends == [(0, CHUNK + 100)]


def test_audio_waits_in_the_session_while_the_way_to_the_server_is_full() -> None:
    upstream, server = Upstream(ByteBudget(1 << 20)), Server(is_congested=True)
    upstream.opened(server, 0)
    feed(upstream, 2 * CHUNK)
    assert server.position is None
    server.is_congested = False
    upstream.pump()
    assert server.position == 2 * CHUNK


def test_an_end_the_lost_server_did_not_answer_is_told_to_the_next_one() -> None:
    upstream, first, second = Upstream(ByteBudget(1 << 20)), Server(), Server()
    upstream.opened(first, 0)
    feed(upstream, 3 * CHUNK)
    upstream.end_turn(3 * CHUNK)
    upstream.lost()
    upstream.opened(second, CHUNK)
    upstream.pump()
    assert second.heard == pcm(2 * CHUNK, CHUNK)
    assert second.ends == [(0, 3 * CHUNK)]


def test_what_no_server_has_heard_is_never_forgotten() -> None:
    upstream = Upstream(ByteBudget(1 << 20))
    feed(upstream, 4 * CHUNK)
    upstream.forget(4 * CHUNK)
    assert upstream.buffer.start == 0


@given(st.lists(st.integers(1, 4000), max_size=40), st.data())
def test_every_sample_reaches_the_servers_in_order_whatever_is_lost_meanwhile(
    pieces: list[int], data: st.DataObject
) -> None:
    upstream = Upstream(ByteBudget(1 << 30))
    final = 0  # what the servers have finished for good
    server = Server()
    upstream.opened(server, 0)
    for piece in pieces:
        feed(upstream, piece)
        if data.draw(st.booleans()):
            upstream.progress(server.position or 0)
        if data.draw(st.booleans()):
            final = max(final, data.draw(st.integers(0, upstream.decoded)))
            upstream.forget(final)
        if data.draw(st.integers(0, 5)) == 0:
            upstream.lost()
            server = Server()
            first = upstream.replay_from(final, 200)
            assert first <= final
            server.position = first
            upstream.opened(server, first)
            upstream.pump()
            assert server.heard == pcm(server.position - first, first)
