"""WAV files as the streaming API takes them."""

import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli.wav import MAXIMUM_RATE, MINIMUM_RATE, RecordingError, parse, read

RECORDINGS = Path(__file__).parent.parent / "fixtures/recordings"


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extension: bytes = b"") -> bytes:
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extension)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_recording_is_read_as_the_standard_library_reads_it() -> None:
    path = RECORDINGS / "cards/001.wav"
    with wave.open(str(path)) as expected:
        frames = expected.readframes(expected.getnframes())
    recording = read(path)
    assert (recording.encoding, recording.sample_rate, recording.data) == ("pcm_s16le", 16_000, frames)


def test_mulaw_is_taken_as_it_is() -> None:
    recording = parse(riff(fmt(tag=7, bits=8, rate=8_000, extension=b"\0\0"), chunk(b"data", b"\xff\x7f\x00")))
    assert (recording.encoding, recording.sample_rate, recording.data) == ("pcm_mulaw", 8_000, b"\xff\x7f\x00")
    assert recording.duration_seconds == pytest.approx(3 / 8_000)


def test_an_extensible_header_is_followed_to_its_real_format() -> None:
    extension = (
        struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x008\x9bq"
    )
    assert parse(riff(fmt(tag=0xFFFE, extension=extension), chunk(b"data", b"ab"))).encoding == "pcm_s16le"


def test_chunks_it_does_not_know_are_skipped() -> None:
    assert parse(riff(chunk(b"LIST", b"odd"), fmt(), chunk(b"fact", b"1234"), chunk(b"data", b"abcd"))).data == b"abcd"


def test_a_size_that_reaches_past_the_end_is_that_of_a_stream() -> None:
    assert parse(riff(fmt(), chunk(b"data", b"abcd", size=0xFFFFFFFF))).data == b"abcd"


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert parse(riff(fmt(), chunk(b"data", b"abc"))).data == b"ab"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a WAV file"),
        (b"ID3\x04 this is an mp3", "not a WAV file"),
        (riff(chunk(b"data", b"ab")), "expected a complete 'fmt ' chunk"),
        (riff(chunk(b"fmt ", b"short"), chunk(b"data", b"ab")), "expected a complete 'fmt ' chunk"),
        (riff(fmt(channels=2), chunk(b"data", b"abcd")), "2 channels: expected one"),
        (riff(fmt(bits=24), chunk(b"data", b"abc")), "24-bit PCM audio: expected 16-bit PCM"),
        (riff(fmt(tag=3, bits=32), chunk(b"data", b"abcd")), "32-bit floating-point audio"),
        (riff(fmt(tag=6, bits=8), chunk(b"data", b"abcd")), "8-bit A-law audio"),
        (riff(fmt(tag=0x1234), chunk(b"data", b"abcd")), "format 0x1234"),
        (riff(fmt(rate=MINIMUM_RATE - 1), chunk(b"data", b"ab")), "7999 Hz: expected a sample rate from 8000 to 96000"),
        (riff(fmt(rate=MAXIMUM_RATE + 1), chunk(b"data", b"ab")), "96001 Hz"),
        (riff(fmt()), "no audio"),
        (riff(fmt(), chunk(b"data", b"a")), "no audio"),
    ],
)
def test_what_cannot_be_streamed_is_named_with_what_was_expected(content: bytes, expected: str) -> None:
    with pytest.raises(RecordingError, match=expected):
        parse(content)


def test_a_refused_format_says_how_to_convert() -> None:
    with pytest.raises(RecordingError, match="ffmpeg"):
        parse(riff(fmt(channels=2), chunk(b"data", b"abcd")))


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"missing\.wav: No such file"):
        read(tmp_path / "missing.wav")
    with pytest.raises(RecordingError, match="Is a directory"):
        read(tmp_path)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_recording_or_a_recording_error(content: bytes, headed: bool) -> None:
    try:
        recording = parse(riff(fmt(), content) if headed else content)
    except RecordingError:
        return
    assert recording.data


@given(st.binary(min_size=2, max_size=5_000).filter(lambda data: len(data) % 2 == 0), st.integers(8_000, 96_000))
def test_chunks_put_together_are_the_recording(data: bytes, rate: int) -> None:
    chunks = parse(riff(fmt(rate=rate), chunk(b"data", data))).chunks(10)
    assert b"".join(chunks) == data
    assert all(len(piece) == rate // 100 * 2 for piece in chunks[:-1])
