import itertools
import math
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_gateway.audio.decode import Decoder, create_decoder
from streamstack_gateway.dialects.events import Encoding

RATES = [8000, 11025, 12345, 16000, 22050, 24000, 44100, 48000, 96000]
WIDTH = {Encoding.PCM_S16LE: 2, Encoding.PCM_MULAW: 1}
RECORDING = next((Path(__file__).parents[2] / "fixtures/recordings/librivox").glob("*.wav"))


def decode(decoder: Decoder, pieces: list[bytes]) -> bytes:
    return b"".join([*(decoder.feed(piece) for piece in pieces), decoder.flush()])


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def sine(rate: int, seconds: float, frequency: float = 440.0) -> np.ndarray:
    return np.round(9000 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype("<i2")


def g711_mulaw_to_linear(byte: int) -> int:
    """ITU-T G.711 as its formula: sgn * (2^e * (33 + 2m) - 33) at 14 bits, times 4 for 16."""
    inverted = byte ^ 0xFF
    sign = -1 if inverted & 0x80 else 1
    exponent, mantissa = (inverted >> 4) & 0x07, inverted & 0x0F
    return sign * (2**exponent * (33 + 2 * mantissa) - 33) * 4


def linear_to_mulaw(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


def test_aligned_16_khz_pcm_passes_through_as_the_same_object():
    data = sine(16000, 0.05).tobytes()

    assert create_decoder(Encoding.PCM_S16LE, 16000).feed(data) is data


@given(st.data(), st.sampled_from(list(Encoding)), st.sampled_from(RATES))
@settings(max_examples=60, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_audio(data, encoding, rate):
    audio = data.draw(st.binary(max_size=3000))
    cuts = data.draw(st.lists(st.integers(0, len(audio)), max_size=12))
    whole, pieces = create_decoder(encoding, rate), create_decoder(encoding, rate)

    assert decode(whole, [audio]) == decode(pieces, split(audio, cuts))
    assert whole.samples_in == pieces.samples_in == len(audio) // WIDTH[encoding]


@given(st.binary(max_size=4000), st.sampled_from(list(Encoding)), st.sampled_from(RATES))
@settings(max_examples=60, deadline=None)
def test_the_output_lasts_as_long_as_the_input(audio, encoding, rate):
    decoder = create_decoder(encoding, rate)

    output = decode(decoder, [audio])

    assert len(output) % 2 == 0
    assert abs(len(output) // 2 - round(decoder.samples_in * 16000 / rate)) <= 1


@pytest.mark.parametrize("rate", RATES)
def test_long_speech_in_small_frames_keeps_its_length_and_its_level(rate):
    frames = max(1, rate // 50)
    audio = sine(rate, 10.3)
    decoder = create_decoder(Encoding.PCM_S16LE, rate)

    pieces = [audio[i : i + frames].tobytes() for i in range(0, len(audio), frames)]
    output = np.frombuffer(decode(decoder, pieces), "<i2")

    assert abs(len(output) - len(audio) * 16000 / rate) <= 1
    assert np.sqrt(np.mean(output.astype(float) ** 2)) == pytest.approx(9000 / math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("rate", RATES)
def test_a_click_stays_where_it_was(rate):
    audio = np.zeros(rate * 2, "<i2")
    audio[rate] = 20000

    output = np.frombuffer(decode(create_decoder(Encoding.PCM_S16LE, rate), [audio.tobytes()]), "<i2")

    assert abs(int(np.abs(output.astype(int)).argmax()) - 16000) <= 1


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_resampled_tone_is_the_tone(rate):
    output = np.frombuffer(decode(create_decoder(Encoding.PCM_S16LE, rate), [sine(rate, 1).tobytes()]), "<i2")

    inner = slice(1600, 14400)
    assert np.abs(output[inner].astype(int) - sine(16000, 1)[inner]).max() <= 40


def test_full_scale_audio_clips_instead_of_wrapping_around():
    square = np.where(np.arange(8000) // 20 % 2, 32767, -32768).astype("<i2")

    output = np.frombuffer(decode(create_decoder(Encoding.PCM_S16LE, 8000), [square.tobytes()]), "<i2")

    plateau = output[40 * 2 + 10 : 40 * 2 + 30].astype(int)  # inside the third stretch, which is negative
    assert plateau.max() < -30000


def test_mulaw_is_the_formula_of_g711():
    decoder = create_decoder(Encoding.PCM_MULAW, 16000)

    output = np.frombuffer(decoder.feed(bytes(range(256))), "<i2")

    assert output.tolist() == [g711_mulaw_to_linear(byte) for byte in range(256)]
    assert (output.max(), output.min()) == (32124, -32124)


def test_telephone_speech_arrives_as_the_speech_it_was():
    with wave.open(str(RECORDING)) as recording:
        speech = np.frombuffer(recording.readframes(16000 * 4), "<i2")
    telephone = create_decoder(Encoding.PCM_S16LE, 16000)
    mulaw = bytes(linear_to_mulaw(int(sample)) for sample in speech)
    decoder = create_decoder(Encoding.PCM_MULAW, 16000)

    output = np.frombuffer(decode(decoder, [mulaw]), "<i2").astype(float)

    assert telephone.feed(speech.tobytes()) == speech.tobytes()
    noise = output - speech
    assert 10 * np.log10(np.mean(speech.astype(float) ** 2) / np.mean(noise**2)) > 30


def test_half_a_sample_waits_for_its_other_half():
    decoder = create_decoder(Encoding.PCM_S16LE, 16000)

    assert decoder.feed(b"\x01") == b""
    assert decoder.samples_in == 0
    assert decoder.feed(b"\x02\x03") == b"\x01\x02"
    assert decoder.samples_in == 1
    assert decoder.flush() == b""
    assert decoder.samples_in == 1


@pytest.mark.parametrize(
    ("encoding", "rate", "size", "duration_ms"),
    [
        (Encoding.PCM_S16LE, 16000, 1600, 50.0),
        (Encoding.PCM_S16LE, 44100, 88200, 1000.0),
        (Encoding.PCM_S16LE, 16000, 1601, 50.03125),
        (Encoding.PCM_MULAW, 8000, 400, 50.0),
        (Encoding.PCM_MULAW, 16000, 400, 25.0),
        (Encoding.PCM_MULAW, 8000, 0, 0.0),
    ],
)
def test_a_message_lasts_as_long_as_its_samples(encoding, rate, size, duration_ms):
    assert create_decoder(encoding, rate).duration_ms(bytes(size)) == duration_ms
