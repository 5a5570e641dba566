from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol, State

from streamstack_gateway.edge.frames import audio_message, text_message


@given(st.binary(min_size=1, max_size=3000), st.binary(max_size=20), st.binary(max_size=20))
def test_an_audio_message_is_read_as_websockets_reads_it(payload: bytes, before: bytes, after: bytes) -> None:
    wire = Frame(Opcode.BINARY, payload).serialize(mask=True)
    read = audio_message(before + wire + after, len(before))
    assert read == ((payload, len(before) + len(wire)) if len(payload) >= 126 else None)


@given(st.binary(max_size=300), st.sampled_from([Opcode.TEXT, Opcode.PING, Opcode.CONT]))
def test_other_frames_are_left_to_websockets(payload: bytes, opcode: Opcode) -> None:
    assert audio_message(Frame(opcode, payload[:125]).serialize(mask=True), 0) is None
    assert audio_message(Frame(Opcode.BINARY, payload, fin=False).serialize(mask=True), 0) is None
    assert audio_message(Frame(Opcode.BINARY, payload).serialize(mask=False), 0) is None


def test_a_length_in_a_longer_form_than_needed_is_left_to_websockets() -> None:
    assert audio_message(b"\x82\xfe\x00\x7d" + bytes(4 + 125 + 8), 0) is None


@given(st.binary(min_size=126, max_size=2000), st.integers(1, 100))
def test_half_a_message_is_left_to_websockets(payload: bytes, cut: int) -> None:
    wire = Frame(Opcode.BINARY, payload).serialize(mask=True)
    assert audio_message(wire[:-cut], 0) is None


@given(st.one_of(st.text(max_size=200), st.just("x" * 70_000)))
def test_a_text_message_is_what_websockets_would_send_and_reads(text: str) -> None:
    wire = text_message(text.encode())
    assert wire == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
    client = Protocol(CLIENT, state=State.OPEN, max_size=None)
    client.receive_data(wire)
    assert [bytes(frame.data).decode() for frame in client.events_received()] == [text]
