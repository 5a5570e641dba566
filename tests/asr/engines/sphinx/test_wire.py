import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import EngineEvent, Failed, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.sphinx import wire
from streamstack_asr.engines.sphinx.wire import Frame, Frames, Kind

numbers = st.integers(0, 2**32 - 1)
positions = st.integers(0, 2**63)
shares = st.floats(0, 1)
words = st.lists(st.builds(Word, st.text(), positions, positions, shares, st.booleans()), max_size=5).map(tuple)
events: st.SearchStrategy[EngineEvent] = st.one_of(
    st.builds(Hypothesis, numbers, positions, positions, numbers, words, shares, numbers),
    st.builds(FinalWords, numbers, numbers, words),
    st.builds(TurnEnded, numbers, positions),
    st.builds(Failed, st.text()),
)


@given(st.lists(st.tuples(numbers, events), max_size=8), st.integers(1, 64))
def test_events_survive_the_wire_however_the_stream_is_cut(sent: list[tuple[int, EngineEvent]], size: int) -> None:
    stream = b"".join(wire.encode_event(session, event) for session, event in sent)
    frames = Frames()
    received = [frame for i in range(0, len(stream), size) for frame in frames.feed(stream[i : i + size])]
    assert [(frame.session, wire.decode_event(frame)) for frame in received] == sent


@given(positions, numbers, positions)
def test_a_start_survives_the_wire(first_sample: int, turn_id: int, turn_start: int) -> None:
    start = SessionStart("", "", first_sample, turn_id, turn_start, SessionConfig())
    assert wire.decode_start(wire.encode_start(start)) == start


@given(numbers, positions)
def test_a_turn_survives_the_wire(turn_id: int, through: int) -> None:
    assert wire.decode_turn(wire.encode_turn(turn_id, through)) == (turn_id, through)


def test_a_frame_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="AUDIO"):
        wire.decode_event(Frame(Kind.AUDIO, 1, b""))
