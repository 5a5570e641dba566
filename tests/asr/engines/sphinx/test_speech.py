from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.sphinx.speech import SpeechTrack

FRAME = 4
SPEECH, SILENCE = b"\x01" * 2 * FRAME, b"\x00" * 2 * FRAME


def track(first_sample: int = 0) -> SpeechTrack:
    return SpeechTrack(first_sample=first_sample, frame_samples=FRAME, is_speech=lambda frame: frame == SPEECH)


def test_a_single_frame_of_noise_is_not_taken_for_certain_speech() -> None:
    speech = track()
    speech.feed(SILENCE * 10 + SPEECH + SILENCE * 2)
    assert speech.take_probability() < 0.5
    assert speech.speech_since is None


def test_lasting_speech_becomes_certain_and_has_a_beginning() -> None:
    speech = track(100)
    speech.feed(SILENCE * 10 + SPEECH * 10)
    assert speech.take_probability() > 0.95
    assert speech.speech_since == 100 + 10 * FRAME
    speech.feed(SILENCE * 10)
    assert speech.speech_since is None
    speech.take_probability()
    speech.feed(SILENCE)
    assert speech.take_probability() < 0.05


def test_the_end_of_speech_within_a_span_is_found() -> None:
    speech = track(100)
    speech.feed(SPEECH * 3 + SILENCE * 3 + SPEECH)
    assert speech.last_speech_end(100, 100 + 6 * FRAME) == 100 + 3 * FRAME
    assert speech.last_speech_end(100 + 3 * FRAME, 100 + 6 * FRAME) is None
    assert speech.speech_samples_since(100 + 2 * FRAME) == 2 * FRAME


@given(st.lists(st.sampled_from([SPEECH, SILENCE]), max_size=30), st.lists(st.integers(1, 40)))
def test_the_size_of_the_pieces_changes_nothing(frames: list[bytes], sizes: list[int]) -> None:
    whole, cut = track(), track()
    audio = b"".join(frames)
    whole.feed(audio)
    for size in sizes:
        cut.feed(audio[: 2 * size])
        audio = audio[2 * size :]
    cut.feed(audio)
    assert cut.position == whole.position
    assert cut.speech_since == whole.speech_since
    assert cut.take_probability() == whole.take_probability()
