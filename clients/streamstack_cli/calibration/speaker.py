"""One session of the load, without I/O: what it says next, and which of its chunks an answer answers.

A chunk of audio is sent when its last sample has been spoken. It is answered by the first hypothesis that leaves less
than one step of it undecoded, as an idle server must by the contract: steps need not end where chunks do.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE

GOLDEN: Final = 0.6180339887498949
"""(sqrt(5) - 1) / 2: multiples of it, modulo 1, lie evenly however many there are."""

PIECE_BYTES: Final = 16 << 10
"""Audio in one request, as a gateway cuts it."""


def spread(number: int) -> float:
    """Return where session ``number`` lies between 0 and 1: the first n of them evenly, for every n."""
    return number * GOLDEN % 1.0


class Speech:
    """A recording that never ends: 16 kHz, 16-bit, mono; played again and again.

    Args:
        pcm: the recording, at least one sample.
        chunk_samples: length of the chunks it is asked for.

    """

    def __init__(self, pcm: bytes, *, chunk_samples: int) -> None:
        self.samples = len(pcm) // BYTES_PER_SAMPLE
        self._chunk_bytes = chunk_samples * BYTES_PER_SAMPLE
        source = pcm[: self.samples * BYTES_PER_SAMPLE]
        # The head follows the tail, so that a chunk across the seam is one slice.
        self._pcm = source + (source * (self._chunk_bytes // len(source) + 1))[: self._chunk_bytes]

    def chunk(self, sample: int) -> bytes:
        """Return the chunk that starts at ``sample``, any number of rounds on."""
        start = sample % self.samples * BYTES_PER_SAMPLE
        return self._pcm[start : start + self._chunk_bytes]


class Answered(NamedTuple):
    """A chunk that was answered: when it was due, and how long after that the answer came; seconds."""

    due: float
    latency: float


class Speaker:
    """A session. Times are seconds of one clock, positions samples of the session's own.

    Args:
        number: on its link; also decides where in the recording it begins and how far its first turn is.
        turn_chunks: chunks in a turn; 0: its turn never ends.

    """

    __slots__ = (
        "_chunk", "_in_turn", "_number", "_offset", "_sent", "_speech", "_through", "_turn", "_turn_chunks",
        "_turn_ends", "opened", "unanswered",
    )  # fmt: skip

    def __init__(self, number: int, speech: Speech, *, chunk_samples: int, turn_chunks: int) -> None:
        self._number = number
        self._speech = speech
        self._chunk = chunk_samples
        self._offset = int(spread(number) * speech.samples)
        self._turn_chunks = turn_chunks
        self._in_turn = int(spread(number) * turn_chunks)
        self._sent = 0
        self._through = 0
        self._turn = 0
        self._turn_ends: dict[int, float] = {}
        self.opened = False
        self.unanswered: deque[tuple[int, float]] = deque()
        """Chunks as (first sample, when they were due), oldest first."""

    def open(self, model: str) -> asr_pb2.SessionRequest:
        """Ask for a slot."""
        self.opened = True
        request = asr_pb2.Open(session_id=f"calibrate-{self._number}", model=model)
        return asr_pb2.SessionRequest(session=self._number, open=request)

    def close(self) -> asr_pb2.SessionRequest:
        """Give the slot back."""
        return asr_pb2.SessionRequest(session=self._number, close=asr_pb2.Close())

    def speak(self, due: float) -> Iterator[asr_pb2.SessionRequest]:
        """Say the next chunk, whose last sample was due then, and end the turn where it is over."""
        pcm = self._speech.chunk(self._offset + self._sent)
        self.unanswered.append((self._sent, due))
        for start in range(0, len(pcm), PIECE_BYTES):
            piece = pcm[start : start + PIECE_BYTES]
            audio = asr_pb2.Audio(offset=self._sent + start // BYTES_PER_SAMPLE, pcm=piece)
            yield asr_pb2.SessionRequest(session=self._number, audio=audio)
        self._sent += self._chunk
        self._in_turn += 1
        if self._turn_chunks and self._in_turn >= self._turn_chunks:
            self._in_turn = 0
            self._turn_ends[self._turn] = due
            end = asr_pb2.EndTurn(turn_id=self._turn, through_sample=self._sent)
            self._turn += 1
            yield asr_pb2.SessionRequest(session=self._number, end_turn=end)

    def decoded(self, through_sample: int, now: float) -> Iterator[Answered]:
        """Take a hypothesis; every chunk that it answers, once. Steps a new turn repeats answer nothing again."""
        if through_sample <= self._through:
            return
        self._through = through_sample
        while self.unanswered and self.unanswered[0][0] < through_sample:
            _, due = self.unanswered.popleft()
            yield Answered(due, now - due)

    def turn_ended(self, turn_id: int, now: float) -> Answered | None:
        """Take the end of a turn: when it was asked for and how long it took; None when nobody asked."""
        asked = self._turn_ends.pop(turn_id, None)
        return None if asked is None else Answered(asked, now - asked)
