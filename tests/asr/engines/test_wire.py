import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines import wire
from streamstack_asr.engines.base import EngineEvent, Failed, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.wire import Frame, Frames, Kind

numbers = st.integers(0, 2**32 - 1)
positions = st.integers(0, 2**63)
shares = st.floats(0, 1)
languages = st.sampled_from(["", "en", "de-DE"])
words = st.lists(st.builds(Word, st.text(), positions, positions, shares, st.booleans()), max_size=5).map(tuple)
profiles = st.lists(st.integers(0, 255).map(lambda step: step / 255), max_size=400).map(tuple)
configs = st.builds(SessionConfig, st.lists(st.text()).map(tuple), languages, st.booleans())
hypotheses = st.builds(
    Hypothesis,
    *(numbers, positions, positions, numbers, words, shares, numbers, st.none() | shares, languages, shares, profiles),
)
events: st.SearchStrategy[EngineEvent] = st.one_of(
    hypotheses,
    st.builds(FinalWords, numbers, numbers, words, languages, shares),
    st.builds(TurnEnded, numbers, positions),
    st.builds(Failed, st.text()),
)


def received(stream: bytes, size: int) -> list[Frame]:
    frames = Frames()
    return [frame for i in range(0, len(stream), size) for frame in frames.feed(stream[i : i + size])]


@given(st.lists(st.tuples(numbers, events), max_size=8), st.integers(1, 64))
def test_events_survive_the_wire_however_the_stream_is_cut(sent: list[tuple[int, EngineEvent]], size: int) -> None:
    stream = b"".join(wire.encode_event(session, event) for session, event in sent)
    assert [(frame.session, wire.decode_event(frame)) for frame in received(stream, size)] == sent


@given(st.lists(st.tuples(st.sampled_from(Kind), numbers, st.binary(max_size=300)), max_size=8), st.integers(1, 400))
def test_frames_survive_however_the_stream_is_cut(sent: list[tuple[Kind, int, bytes]], size: int) -> None:
    stream = b"".join(wire.encode(kind, session, payload) for kind, session, payload in sent)
    assert received(stream, size) == sent


@given(shares)
def test_a_speech_profile_is_kept_to_half_a_step_of_a_byte(share: float) -> None:
    sent = Hypothesis(0, 0, 0, 0, (), 0.0, 0, speech_profile=(share,))
    [frame] = Frames().feed(wire.encode_event(1, sent))
    event = wire.decode_event(frame)
    assert isinstance(event, Hypothesis)
    assert event.speech_profile[0] == pytest.approx(share, abs=0.5 / 255)


@given(st.text(), positions, numbers, positions, configs)
def test_a_start_survives_the_wire(
    model: str, first_sample: int, turn_id: int, turn_start: int, config: SessionConfig
) -> None:
    start = SessionStart("", model, first_sample, turn_id, turn_start, config)
    assert wire.decode_start(wire.encode_start(start)) == start


def test_the_name_of_a_session_stays_with_the_server() -> None:
    start = SessionStart("who it is", "m", 0, 0, 0, SessionConfig())
    assert b"who it is" not in wire.encode_start(start)


@given(configs)
def test_a_configuration_survives_the_wire(config: SessionConfig) -> None:
    assert wire.decode_config(wire.encode_config(config)) == config


@given(numbers, positions)
def test_a_turn_survives_the_wire(turn_id: int, through: int) -> None:
    assert wire.decode_turn(wire.encode_turn(turn_id, through)) == (turn_id, through)


def test_a_frame_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="AUDIO"):
        wire.decode_event(Frame(Kind.AUDIO, 1, b""))


def test_a_frame_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="of kind 200"):
        Frames().feed(b"\x00\x00\x00\x00\xc8\x00\x00\x00\x00")
