"""One client's session from ``Begin`` to close: audio rules, limits, timers, and what is sent in which order.

Sans I/O: the edge calls it with what the client sent and with the time, the recognition with what was heard.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final

from streamstack_common.contracts.rpc import SAMPLE_RATE
from streamstack_gateway import errors
from streamstack_gateway.audio.decode import create_decoder
from streamstack_gateway.audio.pace import Pace
from streamstack_gateway.audio.rules import FrameRules
from streamstack_gateway.dialects.events import (
    Begun,
    ClientEvent,
    ConfigurationChange,
    Failure,
    ForceEndpoint,
    Heartbeat,
    KeepAlive,
    SessionRequest,
    Terminate,
    Terminated,
    Turn,
    Warned,
)
from streamstack_gateway.models import Resolved
from streamstack_gateway.placement.ports import Pools
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import Client, Limits
from streamstack_gateway.session.recognition import Recognition
from streamstack_gateway.session.used import Used

log = logging.getLogger(__name__)


WORDS_MISSING: Final = 6100
"""Code of the warning before ``Termination`` when a stuck server still owed words; the vendor publishes none."""


class Phase(Enum):
    """Where a session stands."""

    LIVE = "live"
    TERMINATING = "terminating"
    OVER = "over"


class Session:
    """A session. ``outcome`` is the reason it ended, for metrics: ``terminated``, ``client_gone`` or an error's."""

    def __init__(
        self,
        session_id: str,
        request: SessionRequest,
        resolved: Resolved,
        *,
        client: Client,
        pools: Pools,
        budget: ByteBudget,
        limits: Limits,
        now: float,
        wall_seconds: float,
        on_over: Callable[["Session"], None],
    ) -> None:
        self.id = session_id
        self.pool = resolved.pool
        self.model = resolved.model
        self.started_at = now
        self.started_wall_seconds = wall_seconds
        self.phase = Phase.LIVE
        self.outcome = ""
        self.used = Used(request)
        self.recognition = Recognition(
            session_id,
            request,
            pool=resolved.pool,
            model_version=resolved.model_version,
            pools=pools,
            budget=budget,
            max_turn_seconds=limits.max_turn_seconds,
            results=self,
        )
        self._request = request
        self._client = client
        self._limits = limits
        self._on_over = on_over
        self._decoder = create_decoder(request.encoding, request.sample_rate)
        self._rules = FrameRules()
        self._pace = Pace()
        self._throttled = False
        self._keep_beating = request.heartbeat
        self._active_at = now
        self._unplaced_since: float | None = now
        self._beat_at = now + limits.heartbeat_seconds
        self._terminate_by = 0.0
        self._news_seen = 0

    # ------------------------------------------------------------------------------------------------ the client's side

    def begin(self) -> None:
        """Greet the client and look for a server; audio may arrive at once."""
        expires_at = int(self.started_wall_seconds) + self._limits.max_session_seconds
        request = self._request
        self._client.send(Begun(self.id, expires_at, self.model, request.turns.filter_profanity))
        for warning in request.warnings:
            self._client.send(warning)
        self.recognition.enter()

    def audio(self, data: bytes, now: float) -> None:
        """Take one binary message. A message against the rules ends the session with 3007."""
        if self.phase is not Phase.LIVE:
            return
        self._active_at = now
        try:
            self._rules.check(self._decoder.duration_ms(data))
        except errors.SessionError as error:
            self.fail(error)
            return
        recognition = self.recognition
        recognition.audio(self._decoder.feed(data))
        self._release(now)
        received_seconds = recognition.upstream.buffer.end / SAMPLE_RATE
        elapsed_seconds = now - self.started_at
        if received_seconds - elapsed_seconds > self._limits.ahead_seconds:
            self.fail(errors.audio_rate(received_seconds, elapsed_seconds))

    def receive(self, event: ClientEvent, now: float) -> None:
        """Take one parsed text message."""
        if self.phase is not Phase.LIVE:
            return
        self._active_at = now
        match event:
            case ForceEndpoint():
                self._all_out()
                if not self.recognition.idle:
                    self.recognition.end_turn()
            case ConfigurationChange():
                self._configure(event)
            case KeepAlive():
                pass
            case Terminate():
                self._terminate(now)

    def gone(self) -> None:
        """The socket is closed."""
        self._end("client_gone")

    def fail(self, error: errors.SessionError) -> None:
        """Tell the client why, then close with the same code."""
        if self.phase is Phase.OVER:
            return
        log.info("session %s: ends with %d %s", self.id, error.code, error.reason)
        self._show_open_turn()
        self._client.send(Failure(error.code.value, error.message))
        self._client.close(error.code.value)
        self._end(error.reason)

    # ------------------------------------------------------------------------------------------- the recognition's side

    def turn(self, turn: Turn) -> None:
        """Show a turn to the client."""
        if self.phase is not Phase.OVER:
            self.used.turn(turn)
            self._client.send(turn)

    def caught_up(self) -> None:
        """What had to end has ended; a terminating session is done."""
        if self.phase is Phase.TERMINATING and self.recognition.idle:
            self._finish()

    def given_up(self) -> None:
        """No server gets past a place in this session's audio."""
        self.fail(errors.recognition_failed())

    # --------------------------------------------------------------------------------------------------------- the time

    def tick(self, now: float) -> None:
        """See to everything that time alone brings about; called several times a second."""
        if self.phase is Phase.TERMINATING:
            self._watch_termination(now)
            return
        if self._throttled:
            self._release(now)
        error = self._overdue(now)
        if error is not None:
            self.fail(error)
        elif self._keep_beating and now >= self._beat_at:
            self._beat(now)

    @property
    def audio_ms(self) -> int:
        """Accepted audio by the client's sample clock, in whole milliseconds."""
        return self._decoder.samples_in * 1000 // self._request.sample_rate

    def _overdue(self, now: float) -> errors.SessionError | None:
        if now - self.started_at >= self._limits.max_session_seconds:
            return errors.expired()
        timeout = self._request.inactivity_timeout_seconds
        if timeout is not None and now - self._active_at >= timeout:
            return errors.inactivity(timeout)
        if self.recognition.placed:
            self._unplaced_since = None
        elif self._unplaced_since is None:
            self._unplaced_since = now
        elif now - self._unplaced_since >= self._limits.asr_wait_seconds:
            return errors.no_recognition(self._limits.asr_wait_seconds)
        return None

    def _release(self, now: float) -> None:
        """Let audio out at the pace of DESIGN 5: real time and a little more, after a burst."""
        end = self.recognition.upstream.buffer.end
        until = self._pace.released(end, now)
        self._throttled = until < end
        self.recognition.release(until)

    def _all_out(self) -> None:
        """Audio the client wants answered now is not held back."""
        end = self.recognition.upstream.buffer.end
        self._throttled = False
        self._pace.release_all(end)
        self.recognition.release(end)

    def _configure(self, change: ConfigurationChange) -> None:
        settings = self.recognition.settings
        changes = {
            name: value
            for name in (
                "end_of_turn_confidence_threshold",
                "min_turn_silence_ms",
                "max_turn_silence_ms",
                "vad_threshold",
                "format_turns",
                "filter_profanity",
            )
            if (value := getattr(change, name)) is not None
        }
        self.used.change(change)
        self.recognition.configure(replace(settings, **changes), change.keyterms)
        if change.heartbeat is not None:
            self._keep_beating = change.heartbeat
        for warning in change.warnings:
            self._client.send(warning)

    def _terminate(self, now: float) -> None:
        self.phase = Phase.TERMINATING
        self.recognition.audio(self._decoder.flush())
        self._all_out()
        if self.recognition.idle:
            self._finish()
            return
        self._terminate_by = now + self._limits.terminate_seconds
        self.recognition.end_turn()

    def _watch_termination(self, now: float) -> None:
        """A server that makes progress may finish; one that makes none does not keep the client."""
        news = self.recognition.news
        if news != self._news_seen:
            self._news_seen = news
            self._terminate_by = now + self._limits.terminate_seconds
        elif now >= self._terminate_by:
            log.warning("session %s: no answer to the end of its last turn", self.id)
            self._client.send(Warned(WORDS_MISSING, "The end of the audio was not recognised in time"))
            self._finish()

    def _finish(self) -> None:
        self._show_open_turn()
        samples = self._decoder.samples_in
        audio_seconds = (samples + self._request.sample_rate // 2) // self._request.sample_rate
        self._client.send(Terminated(audio_seconds, round(max(0.0, self._active_at - self.started_at))))
        self._client.close(errors.Code.NORMAL.value)
        self._end("terminated")

    def _show_open_turn(self) -> None:
        turn = self.recognition.settle()
        if turn is not None:
            self.turn(turn)

    def _beat(self, now: float) -> None:
        self._beat_at = now + self._limits.heartbeat_seconds
        duration_ms = int((now - self.started_at) * 1000)
        recognition = self.recognition
        self._client.send(
            Heartbeat(
                self.audio_ms,
                duration_ms,
                round(self.audio_ms / max(1, duration_ms), 3),
                round(recognition.max_speech_probability, 3),
            )
        )
        recognition.max_speech_probability = 0.0

    def _end(self, outcome: str) -> None:
        if self.phase is Phase.OVER:
            return
        self.phase = Phase.OVER
        self.outcome = outcome
        self.recognition.leave()
        self._on_over(self)
