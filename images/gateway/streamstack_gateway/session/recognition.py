"""A session's recognition, on whichever server it is: audio up, words down, turns ended, servers replaced.

Sans I/O and without a clock: the session feeds it and says when; what it finds goes to :class:`Results`.
"""

import logging
from typing import Final, Protocol

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import SAMPLE_RATE, ms_to_samples
from streamstack_gateway.dialects.events import SessionRequest, Turn, TurnSettings
from streamstack_gateway.placement.ports import Attempt, Pools, Ticket
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.upstream import MAX_LEFT_CONTEXT_MS, Upstream
from streamstack_gateway.turns.detector import Decision
from streamstack_gateway.turns.turn import OpenTurn
from streamstack_gateway.turns.words import ContractError

log = logging.getLogger(__name__)

MAX_LOSSES_AT_ONE_PLACE: Final = 5
"""Servers may die at any time, but not one after another at the same sample: audio that kills them ends its session."""


class Results(Protocol):
    """Who is told."""

    def turn(self, turn: Turn) -> None:
        """Show this to the client."""

    def caught_up(self) -> None:
        """Every turn that was told to end has ended."""

    def given_up(self) -> None:
        """No server gets past a place in this session's audio."""


class Recognition:
    """Words of one session; implements ``placement.ports.Listener``."""

    def __init__(
        self,
        session_id: str,
        request: SessionRequest,
        *,
        pool: str,
        model_version: str,
        pools: Pools,
        budget: ByteBudget,
        max_turn_seconds: int,
        results: Results,
    ) -> None:
        self.upstream = Upstream(budget)
        self.max_speech_probability = 0.0
        self._id = session_id
        self._pool = pool
        self._model_version = model_version
        self._pools = pools
        self._results = results
        self._config = asr_pb2.SessionConfig(
            keyterms=request.keyterms, language=request.language, format=request.turns.format_turns
        )
        self._partials = request.turns.include_partial_turns
        self._max_turn_samples = max_turn_seconds * SAMPLE_RATE
        self._turn = OpenTurn(request.turns, language_detection=request.language_detection)
        self._turn_start = 0  # sample
        self._resume = 0  # sample; see _cut
        self._stable = 0  # sample; the last server will not look back behind it
        self._attempt = 0
        self._opened_from = 0
        self._news = 0
        self._heard = 0  # sample; how far the open turn's hypotheses have come
        self._end_through: int | None = None  # a forced end that is still to come
        self._ticket: Ticket | None = None
        self._furthest = 0  # sample; the best any server has come to
        self._losses_there = 0

    # ----------------------------------------------------------------------------------------------- the session's side

    @property
    def placed(self) -> bool:
        """Whether a server works on the session now."""
        return self.upstream.attempt is not None

    def enter(self) -> None:
        """Ask the pool for a slot."""
        self._ticket = self._pools.enter(self._pool, self)

    def leave(self) -> None:
        """Give back slot, place in the queue and bytes."""
        if self._ticket is not None:
            self._ticket.leave()
            self._ticket = None
        self.upstream.close()

    def audio(self, pcm: bytes) -> None:
        """Take 16 kHz audio; it goes out when ``release`` lets it."""
        self.upstream.accept(pcm)

    def release(self, until_sample: int) -> None:
        """Audio up to there may be sent."""
        self.upstream.released = until_sample
        self.upstream.pump()

    def configure(self, settings: TurnSettings, keyterms: tuple[str, ...] | None) -> None:
        """Use other thresholds, and other keyterms if any are given."""
        self._turn.settings = settings
        config = asr_pb2.SessionConfig(
            keyterms=self._config.keyterms if keyterms is None else keyterms,
            language=self._config.language,
            format=settings.format_turns,
        )
        if config == self._config:
            return
        self._config = config
        if self.upstream.attempt is not None:
            self.upstream.attempt.update(config)

    @property
    def settings(self) -> TurnSettings:
        """The thresholds in force."""
        return self._turn.settings

    def end_turn(self) -> None:
        """End the open turn behind all audio taken so far; ``caught_up`` follows.

        Turns that end on their own before that still do: a client that sends a file at once gets the same turns.
        """
        self._end_through = self.upstream.buffer.end
        self._force()

    @property
    def news(self) -> int:
        """How often a server has said anything; one that is at work says something with every step."""
        return self._news

    @property
    def idle(self) -> bool:
        """Whether nothing is left to end: no audio since the last turn's end."""
        upstream = self.upstream
        return upstream.cut is None and self._end_through is None and upstream.buffer.end <= self._turn_start

    def settle(self) -> Turn | None:
        """The open turn as it stands, for a session that cannot wait for its server."""
        return self._turn.settle()

    # ------------------------------------------------------------------------------------------------ the server's side

    def open_request(self) -> asr_pb2.Open:
        """Begin where the last server's final words end, with the context before it."""
        cut = self._cut()
        self._opened_from = self.upstream.replay_from(cut, MAX_LEFT_CONTEXT_MS)
        return asr_pb2.Open(
            session_id=self._id,
            model=self._model_version,
            first_sample=self._opened_from,
            turn_id=self.upstream.turn_id,
            turn_start_sample=cut,
            attempt=self._attempt,
            config=self._config,
        )

    def opened(self, attempt: Attempt) -> None:
        """Replay what the last server did not finish, then go on."""
        self._ticket = None
        self._news += 1
        self._turn.words.resume()
        self.upstream.opened(attempt, self._opened_from)
        self._heard = self._opened_from
        self.upstream.pump()
        self._force()

    def hypothesis(self, message: asr_pb2.Hypothesis) -> None:
        """News of the open turn, also while it is being ended."""
        if message.attempt != self._attempt or message.turn_id != self.upstream.turn_id:
            return
        upstream = self.upstream
        self._news += 1
        stable, cut = message.stable_through_sample, upstream.cut
        # What the server has settled behind the end of this turn is the next one's, and comes again.
        self._stable = max(self._stable, stable if cut is None else min(stable, cut))
        self.max_speech_probability = max(self.max_speech_probability, message.speech_probability)
        self._heard = message.through_sample
        upstream.progress(message.through_sample)
        try:
            changed, decision = self._turn.hypothesis(message, cut=cut)
        except ContractError as error:
            self._distrust(error)
            return
        upstream.forget(self._cut())
        if message.through_sample - self._turn_start >= self._max_turn_samples and not self._turn.words.empty:
            decision = Decision.END
        if (changed or decision is Decision.PAUSE) and self._partials and not self._turn.words.empty:
            self._results.turn(self._turn.partial(pause=decision is Decision.PAUSE))
        if decision is Decision.END and cut is None:
            upstream.end_turn(message.through_sample)
        else:
            upstream.pump()
            self._force()

    def final(self, message: asr_pb2.Final) -> None:
        """The turn's last words."""
        if message.attempt != self._attempt or message.turn_id != self.upstream.turn_id:
            return
        self._news += 1
        try:
            turn = self._turn.complete(message)
        except ContractError as error:
            self._distrust(error)
            return
        if turn is not None:
            self._results.turn(turn)

    def turn_ended(self, message: asr_pb2.TurnEnded) -> None:
        """From here on, the next turn."""
        if message.attempt != self._attempt or message.turn_id != self.upstream.turn_id:
            return
        upstream = self.upstream
        self._turn_start = self._heard = self._stable = self._resume = message.through_sample
        self._turn.next(message.through_sample)
        upstream.turn_ended(message.through_sample)
        upstream.forget(message.through_sample)
        if self._end_through is not None and self._end_through <= message.through_sample:
            self._end_through = None
        upstream.pump()
        self._force()
        if self._end_through is None:
            self._results.caught_up()

    def please_move(self, message: asr_pb2.PleaseMove) -> None:
        """The server retires; it waits for its sessions, so the session stays until the server ends the attempt."""
        log.info("session %s: server asks to be left within %d ms", self._id, message.within_ms)

    def lost(self, reason: str) -> None:
        """Look for another server at once."""
        log.warning("session %s: lost its server: %s", self._id, reason)
        self._attempt += 1
        self.upstream.lost()
        if self._heard > self._furthest:
            self._furthest, self._losses_there = self._heard, 0
        self._losses_there += 1
        if self._losses_there > MAX_LOSSES_AT_ONE_PLACE:
            self._results.given_up()
        else:
            self.enter()

    def _force(self) -> None:
        """Carry out a forced end once decoding is near: before that, earlier turns may still end by themselves."""
        upstream, through = self.upstream, self._end_through
        if through is None or upstream.cut is not None or upstream.attempt is None:
            return
        # Audio goes out in whole steps, and a hypothesis is at most one step behind what it was sent.
        if through - self._heard < 2 * ms_to_samples(upstream.attempt.facts.chunk_ms):
            upstream.end_turn(through)

    def _cut(self) -> int:
        """Words that start before this sample are final, or known not to be there."""
        middle = self._turn.words.resume_sample
        known = max(self._turn_start, self._stable) if middle is None else middle
        # What was forgotten is not asked for again.
        self._resume = max(self._resume, known)
        return self._resume if self.upstream.cut is None else min(self._resume, self.upstream.cut)

    def _distrust(self, error: ContractError) -> None:
        attempt = self.upstream.attempt
        if attempt is not None:
            attempt.close()
        self.lost(f"it broke the contract: {error}")
