"""Client audio to what engines take: 16 kHz mono PCM, 16-bit little-endian.

Sample n of the output is the client's audio at n / 16000 seconds, whatever the client's rate: soxr compensates the
delay of its filter, so output comes later than its input (up to 60 ms at 8 kHz) but is never shifted against it, and
after ``flush`` its length is the input's duration.
"""

from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from streamstack_common.contracts.rpc import SAMPLE_RATE
from streamstack_gateway.dialects.events import Encoding

_BYTES_PER_SAMPLE = {Encoding.PCM_S16LE: 2, Encoding.PCM_MULAW: 1}


def _mulaw_table() -> NDArray[np.int16]:
    """ITU-T G.711, table 2a: a complemented byte is sign, exponent (3 bits) and mantissa (4 bits), biased by 33.

    That is for 14 bits; scaled to 16, the mantissa is shifted by 3 and the bias is 132.
    """
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4) & 7
    mantissa = code & 15
    magnitude = (((mantissa.astype(np.int32) << 3) + 132) << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude).astype("<i2")


MULAW_TO_PCM = _mulaw_table()
_MULAW_TO_FLOAT = MULAW_TO_PCM.astype(np.float32)


class Decoder(Protocol):
    """One session's audio. ``samples_in`` counts whole samples accepted, at the client's rate: the billing clock."""

    samples_in: int

    def duration_ms(self, data: bytes) -> float:
        """How much audio a message holds; half a sample counts as half."""

    def feed(self, data: bytes) -> bytes:
        """Take one message, cut anywhere; answers the 16 kHz audio that is ready, maybe none."""

    def flush(self) -> bytes:
        """Answer the rest; nothing may be fed afterwards. Half a sample without its other half is no audio."""


def create_decoder(encoding: Encoding, sample_rate: int) -> Decoder:
    """A decoder for one session; ``sample_rate`` in Hz, 8000 to 96000."""
    if sample_rate != SAMPLE_RATE:
        return _Resampled(encoding, sample_rate)
    return _Pcm(sample_rate) if encoding is Encoding.PCM_S16LE else _Mulaw(sample_rate)


class _Whole:
    """Cuts PCM at whole samples and counts them."""

    __slots__ = ("_odd", "_rate", "samples_in")

    bytes_per_sample = 2

    def __init__(self, rate: int) -> None:
        self.samples_in = 0
        self._rate = rate
        self._odd = b""

    def duration_ms(self, data: bytes) -> float:
        return len(data) * 1000 / (self.bytes_per_sample * self._rate)

    def _whole(self, data: bytes) -> bytes:
        if self._odd:
            data = self._odd + data
            self._odd = b""
        if len(data) & 1:
            self._odd = data[-1:]
            data = data[:-1]
        self.samples_in += len(data) >> 1
        return data


class _Pcm(_Whole):
    """16 kHz PCM: what came is what goes, the same object when it holds whole samples."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        return self._whole(data)

    def flush(self) -> bytes:
        return b""


class _Mulaw(_Whole):
    """16 kHz mu-law: a table."""

    __slots__ = ()

    bytes_per_sample = 1

    def feed(self, data: bytes) -> bytes:
        self.samples_in += len(data)
        return MULAW_TO_PCM[np.frombuffer(data, np.uint8)].tobytes()

    def flush(self) -> bytes:
        return b""


class _Resampled(_Whole):
    """Any other rate, through one soxr stream.

    In floats, rounded here: soxr's own 16-bit output is dithered, so the same audio in other pieces would give other
    samples. Measured: 8 to 17 microseconds for 50 ms, 3 more than with dither.
    """

    __slots__ = ("_mulaw", "_stream", "bytes_per_sample")

    def __init__(self, encoding: Encoding, rate: int) -> None:
        super().__init__(rate)
        self.bytes_per_sample = _BYTES_PER_SAMPLE[encoding]
        self._mulaw = encoding is Encoding.PCM_MULAW
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="LQ")

    def feed(self, data: bytes) -> bytes:
        if self._mulaw:
            self.samples_in += len(data)
            samples = _MULAW_TO_FLOAT[np.frombuffer(data, np.uint8)]
        else:
            samples = np.frombuffer(self._whole(data), "<i2").astype(np.float32)
        return self._resample(samples, last=False) if len(samples) else b""

    def flush(self) -> bytes:
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, samples: NDArray[np.float32], *, last: bool) -> bytes:
        output: NDArray[np.float32] = self._stream.resample_chunk(samples, last=last)
        np.rint(output, out=output)
        # The filter overshoots full scale.
        np.maximum(output, -32768, out=output)
        np.minimum(output, 32767, out=output)
        return output.astype("<i2").tobytes()
