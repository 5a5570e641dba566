"""The audio of one session that may still have to be decoded again. Pure; positions are samples."""

from typing import Final

_KEEP_SAMPLES: Final = 120 * 16_000
"""Longest utterance; 3.8 MB."""
_TRIM_SAMPLES: Final = 16_000


class Recent:
    """Audio by position: what was pushed, less what lies more than two minutes back."""

    def __init__(self, first_sample: int) -> None:
        self.start = first_sample
        """First sample that is still held."""
        self._pcm = bytearray()

    @property
    def end(self) -> int:
        """Behind the last sample."""
        return self.start + len(self._pcm) // 2

    def push(self, pcm: bytes) -> None:
        """Append; an even number of bytes."""
        self._pcm += pcm

    def read(self, start_sample: int, end_sample: int) -> bytes:
        """The samples from ``start_sample`` up to ``end_sample``, both within what is held."""
        return bytes(self._pcm[2 * (start_sample - self.start) : 2 * (end_sample - self.start)])

    def trim(self, decoded_sample: int) -> None:
        """Forget what lies too far behind ``decoded_sample`` ever to be decoded again."""
        surplus = decoded_sample - _KEEP_SAMPLES - self.start
        if surplus >= _TRIM_SAMPLES:  # in pieces of a second: forgetting moves all that is left
            del self._pcm[: 2 * surplus]
            self.start += surplus
