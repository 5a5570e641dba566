"""A session's audio on its way to a server: buffered, cut into steps, kept within the window, replayed when it moves.

Positions are samples of the 16 kHz audio clock. What is sent but not yet final stays in the buffer, with the context a
server wants ahead of it, so that another server can take over without a word lost.
"""

from typing import Final

from streamstack_common.contracts.rpc import ms_to_samples
from streamstack_gateway.placement.ports import Attempt
from streamstack_gateway.session.audio_buffer import AudioBuffer
from streamstack_gateway.session.budget import ByteBudget

MAX_LEFT_CONTEXT_MS: Final = 6_000
"""Upper bound of what is kept for a server's left context; the largest engine wants 5.6 s (70 frames of 80 ms)."""


class Upstream:
    """Audio of one session and its attempt, if it has one."""

    __slots__ = ("_cut", "_ended_at", "attempt", "buffer", "decoded", "released", "sent", "turn_id")

    def __init__(self, budget: ByteBudget) -> None:
        self.buffer = AudioBuffer(budget)
        self.attempt: Attempt | None = None
        self.turn_id = 0
        self.sent = 0
        self.decoded = 0
        self.released = 0
        self._cut: int | None = None  # where the open turn shall end
        self._ended_at: int | None = None  # the cut the present server has been told of

    @property
    def cut(self) -> int | None:
        """Where the open turn is to end, once that is decided; sample."""
        return self._cut

    def accept(self, pcm: bytes) -> None:
        """Take audio of the client; ``pump`` sends it."""
        self.buffer.append(pcm)

    def opened(self, attempt: Attempt, first_sample: int) -> None:
        """Begin on a server at the position it was opened with."""
        self.attempt = attempt
        self.sent = self.decoded = first_sample
        self._ended_at = None

    def lost(self) -> None:
        """The attempt is over; what it had not finished is sent again on the next one."""
        self.attempt = None
        self._ended_at = None

    def close(self) -> None:
        """Give back the slot and every byte."""
        if self.attempt is not None:
            self.attempt.close()
            self.attempt = None
        self.buffer.release()

    def replay_from(self, cut_sample: int, left_context_ms: int) -> int:
        """Where to begin on a new server whose first word may start at ``cut_sample``."""
        return max(self.buffer.start, cut_sample - ms_to_samples(left_context_ms))

    def end_turn(self, through_sample: int) -> None:
        """Ask for the end of the open turn at ``through_sample``; it is told once the audio before it is sent.

        A second call moves an end that no server has been told of yet.
        """
        if self._ended_at is None:
            self._cut = through_sample if self._cut is None else max(self._cut, through_sample)
        self.pump()

    def turn_ended(self, through_sample: int) -> None:
        """The server has ended the turn."""
        self.turn_id += 1
        self._cut = self._ended_at = None
        self.progress(through_sample)

    def progress(self, through_sample: int) -> None:
        """The server has decoded up to there, so the window moves on."""
        self.decoded = max(self.decoded, min(through_sample, self.sent))

    def forget(self, before_sample: int) -> None:
        """Nothing before this will be replayed, save as context."""
        attempt = self.attempt
        context_ms = MAX_LEFT_CONTEXT_MS if attempt is None else min(attempt.facts.left_context_ms, MAX_LEFT_CONTEXT_MS)
        self.buffer.trim(min(before_sample - ms_to_samples(context_ms), self.sent))

    def pump(self) -> None:
        """Send every whole step that may go, and the end of the turn as soon as its audio is out."""
        attempt = self.attempt
        if attempt is None or attempt.is_congested:
            return
        step = ms_to_samples(attempt.facts.chunk_ms)
        limit = min(self.buffer.end, self.released, self.decoded + ms_to_samples(attempt.facts.window_ms))
        while limit - self.sent >= step:
            self._send(attempt, self.sent + step)
        cut = self._cut
        if cut is None or self._ended_at is not None or limit < cut:
            return
        if self.sent < cut:
            self._send(attempt, cut)
        attempt.end_turn(self.turn_id, cut)
        self._ended_at = cut

    def _send(self, attempt: Attempt, until: int) -> None:
        attempt.audio(self.sent, self.buffer.read(self.sent, until))
        self.sent = until
