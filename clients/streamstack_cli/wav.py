"""WAV files as the streaming API takes them: one channel of 16-bit PCM or mu-law.

Own parsing, because Python 3.11's ``wave`` knows neither mu-law nor WAVE_FORMAT_EXTENSIBLE; layout: "Multimedia
Programming Interface and Data Specifications 1.0", IBM and Microsoft, 1991, and Microsoft's WAVEFORMATEXTENSIBLE.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MINIMUM_RATE: Final = 8_000
MAXIMUM_RATE: Final = 96_000
"""Sample rates of the streaming API, ``reference/assemblyai-protocol.md`` 3.1."""

_PCM: Final = 0x0001
_MULAW: Final = 0x0007
_EXTENSIBLE: Final = 0xFFFE
_ENCODINGS: Final = {(_PCM, 16): "pcm_s16le", (_MULAW, 8): "pcm_mulaw"}
_FORMAT_NAMES: Final = {_PCM: "PCM", 0x0003: "floating-point", 0x0006: "A-law", _MULAW: "mu-law", 0x0055: "MP3"}
_FORMAT: Final = struct.Struct("<HHIIHH")

HOW_TO_CONVERT: Final = "convert it with: ffmpeg -i INPUT -ac 1 -ar 16000 -c:a pcm_s16le OUTPUT.wav"


class RecordingError(ValueError):
    """A file that cannot be streamed; the message names it, what it holds and what was expected."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One channel of audio. ``encoding`` is a value of the v3 parameter: ``pcm_s16le`` or ``pcm_mulaw``."""

    encoding: str
    sample_rate: int
    data: bytes

    @property
    def bytes_per_sample(self) -> int:
        """Size of a sample in ``data``."""
        return 2 if self.encoding == "pcm_s16le" else 1

    @property
    def duration_seconds(self) -> float:
        """Length of the audio."""
        return len(self.data) / self.bytes_per_sample / self.sample_rate

    def chunks(self, duration_ms: int) -> list[bytes]:
        """Cut into pieces of ``duration_ms``; the last may be shorter."""
        size = self.sample_rate * duration_ms // 1000 * self.bytes_per_sample
        return [self.data[start : start + size] for start in range(0, len(self.data), size)]


def read(path: Path) -> Recording:
    """Read a WAV file. Raises RecordingError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    try:
        return parse(content)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from error


def parse(content: bytes) -> Recording:
    """Take a WAV file apart. Raises RecordingError."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise RecordingError(f"not a WAV file: expected mono 16-bit PCM or mu-law WAV; {HOW_TO_CONVERT}")
    header, data = _chunks(content)
    if header is None or len(header) < _FORMAT.size:
        raise RecordingError("damaged WAV file: expected a complete 'fmt ' chunk before the 'data' chunk")
    tag, channels, sample_rate, _, _, bits = _FORMAT.unpack_from(header)
    if tag == _EXTENSIBLE and len(header) >= 26:
        # The real tag leads the GUID that follows the extension's size, valid bits and channel mask.
        tag = int.from_bytes(header[24:26], "little")
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        name = _FORMAT_NAMES.get(tag, f"format {tag:#06x}")
        raise RecordingError(f"{bits}-bit {name} audio: expected 16-bit PCM or 8-bit mu-law; {HOW_TO_CONVERT}")
    if channels != 1:
        raise RecordingError(f"{channels} channels: expected one; {HOW_TO_CONVERT}")
    if not MINIMUM_RATE <= sample_rate <= MAXIMUM_RATE:
        raise RecordingError(
            f"{sample_rate} Hz: expected a sample rate from {MINIMUM_RATE} to {MAXIMUM_RATE} Hz; {HOW_TO_CONVERT}"
        )
    recording = Recording(encoding, sample_rate, data)
    whole = len(data) - len(data) % recording.bytes_per_sample
    if not whole:
        raise RecordingError("no audio: the 'data' chunk is missing or empty")
    return Recording(encoding, sample_rate, data[:whole])


def _chunks(content: bytes) -> tuple[bytes | None, bytes]:
    """Return the format chunk and the audio; a size that reaches past the end is that of a stream, or of a cut file."""
    header: bytes | None = None
    position = 12
    while position + 8 <= len(content):
        name = content[position : position + 4]
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        body = content[position + 8 : position + 8 + size]
        if name == b"fmt ":
            header = body
        elif name == b"data":
            return header, body
        position += 8 + size + size % 2
    return header, b""
