"""Words written into PCM samples: a block every 20 ms, readable from any sample position on.

A block is 320 samples, 16 bit, little endian: a header of nine, then zeros (or whatever a test mixes in).

    0..3  MAGIC
    4     kind: silence, first letter of a word, further letter of a word
    5     the letter, a code point of the basic multilingual plane; 0 in silence
    6, 7  running number of the block, high and low half
    8     checksum over 4 to 7

The running number makes a lost or doubled block visible; the checksum keeps a header glued together by a cut, of two
different blocks, from being read.
"""

import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE, ms_to_samples

BLOCK_MS: Final = 20
BLOCK_SAMPLES: Final = ms_to_samples(BLOCK_MS)
MAGIC: Final = struct.pack("<4h", 0x5A3C, -0x1E77, 0x2B4D, -0x7A11)
_FIELDS: Final = struct.Struct("<HHHH")
_CHECKSUM: Final = struct.Struct("<H")
HEADER_BYTES: Final = len(MAGIC) + _FIELDS.size + _CHECKSUM.size
HEADER_SAMPLES: Final = HEADER_BYTES // BYTES_PER_SAMPLE
LOUD: Final = 500
"""Amplitude from which unmarked samples count as speech; about -36 dBFS, above the noise of a quiet line."""


class Kind(IntEnum):
    """What a block says."""

    SILENCE = 1
    WORD_START = 2
    LETTER = 3


class Block(NamedTuple):
    """A block that was read; ``position`` is its first sample, counted from the decoder's first."""

    position: int
    kind: Kind
    letter: str
    number: int


class Sound(NamedTuple):
    """Loud samples that are no marker, ``[start, end)``, counted from the decoder's first."""

    start: int
    end: int


def encode(kind: Kind, letter: str, number: int) -> bytes:
    """Write one block: 640 bytes. Raises ValueError for a letter or number that does not fit."""
    code = ord(letter) if letter else 0
    if not _is_letter(kind, code) or not 0 <= number < 1 << 32:
        raise ValueError(f"block {kind.name} {letter!r} {number}: expected one BMP letter in words, none in silence")
    fields = _FIELDS.pack(kind, code, number >> 16, number & 0xFFFF)
    return (MAGIC + fields + _checksum(fields)).ljust(BLOCK_SAMPLES * BYTES_PER_SAMPLE, b"\0")


class Decoder:
    """Finds blocks in samples that come in any pieces.

    ``position`` is the first sample not yet looked at: at most a header less one sample behind what was fed.
    """

    __slots__ = ("_carry", "position")

    def __init__(self) -> None:
        self.position = 0
        self._carry = b""

    def feed(self, pcm: bytes) -> list[Block | Sound]:
        """Take the next samples (an even number of bytes); what they hold, in order."""
        data = self._carry + pcm
        found: list[Block | Sound] = []
        at = 0
        while True:
            magic = _find_aligned(data, at)
            limit = _tail(data, at) if magic < 0 else magic
            self._note_sound(data, at, limit, found)
            at = limit
            if magic < 0 or len(data) - magic < HEADER_BYTES:
                break
            block = _parse(data, magic, self.position + magic // BYTES_PER_SAMPLE)
            if block is None:
                self._note_sound(data, at, at + len(MAGIC), found)
                at += len(MAGIC)
            else:
                found.append(block)
                at += HEADER_BYTES
        self._carry = data[at:]
        self.position += at // BYTES_PER_SAMPLE
        return found

    def _note_sound(self, data: bytes, start: int, end: int, found: list[Block | Sound]) -> None:
        piece = data[start:end]
        if piece.count(0) == len(piece):
            return
        loud = np.flatnonzero(np.abs(np.frombuffer(piece, "<i2").astype(np.int32)) >= LOUD)
        if loud.size:
            base = self.position + start // BYTES_PER_SAMPLE
            found.append(Sound(base + int(loud[0]), base + int(loud[-1]) + 1))


def _find_aligned(data: bytes, start: int) -> int:
    """Byte position of the next MAGIC that begins on a sample, -1 when there is none."""
    at = data.find(MAGIC, start)
    while at % BYTES_PER_SAMPLE and at >= 0:
        at = data.find(MAGIC, at + 1)
    return at


def _tail(data: bytes, start: int) -> int:
    """Where the end of ``data`` may be the beginning of a MAGIC; its length when it cannot."""
    for length in range(len(MAGIC) - BYTES_PER_SAMPLE, 0, -BYTES_PER_SAMPLE):
        if len(data) - length >= start and data.endswith(MAGIC[:length]):
            return len(data) - length
    return len(data)


def _parse(data: bytes, magic: int, position: int) -> Block | None:
    fields = data[magic + len(MAGIC) : magic + len(MAGIC) + _FIELDS.size]
    if data[magic + HEADER_BYTES - _CHECKSUM.size : magic + HEADER_BYTES] != _checksum(fields):
        return None
    kind, code, high, low = _FIELDS.unpack(fields)
    if kind not in Kind.__members__.values() or not _is_letter(Kind(kind), code):
        return None
    return Block(position, Kind(kind), chr(code) if code else "", high << 16 | low)


def _is_letter(kind: Kind, code: int) -> bool:
    if kind is Kind.SILENCE:
        return code == 0
    return 0 < code <= 0xFFFF and not 0xD800 <= code <= 0xDFFF


def _checksum(fields: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(fields) & 0xFFFF)
