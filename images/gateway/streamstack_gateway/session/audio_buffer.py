"""A session's 16 kHz audio that may still be needed: not sent yet, or not yet final and so kept for a replay."""

from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE
from streamstack_gateway.session.budget import ByteBudget


class AudioBuffer:
    """PCM between two positions of the audio clock, in samples; every byte counts against the pod's budget."""

    __slots__ = ("_budget", "_data", "end", "start")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._data = bytearray()
        self.start = 0
        self.end = 0

    def append(self, pcm: bytes) -> None:
        """Take whole samples that follow ``end``."""
        self._data += pcm
        self.end += len(pcm) // BYTES_PER_SAMPLE
        self._budget.used += len(pcm)

    def read(self, first: int, last: int) -> bytes:
        """Samples ``first`` to ``last`` (excluded), which must be held."""
        if not self.start <= first <= last <= self.end:
            raise IndexError(f"samples {first} to {last} asked for, {self.start} to {self.end} held")
        base = self.start
        return bytes(self._data[(first - base) * BYTES_PER_SAMPLE : (last - base) * BYTES_PER_SAMPLE])

    def trim(self, before: int) -> None:
        """Forget samples before ``before``; a position already forgotten, or not reached, is no error."""
        count = min(before, self.end) - self.start
        if count <= 0:
            return
        size = count * BYTES_PER_SAMPLE
        del self._data[:size]
        self.start += count
        self._budget.used -= size

    def release(self) -> None:
        """Give everything back."""
        self.trim(self.end)

    def __len__(self) -> int:
        return len(self._data)
