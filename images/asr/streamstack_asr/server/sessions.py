"""The sessions of one link, without I/O: requests in, pieces into the outbox.

Whatever is wrong with a request ends at most the session it names (invariant "contained").
"""

from collections.abc import Iterable
from dataclasses import dataclass

from streamstack_asr.engines.base import (
    AsrEngine,
    EngineError,
    EngineEvent,
    EngineSession,
    Failed,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
)
from streamstack_asr.server import encoding
from streamstack_asr.server.numbers import UsedNumbers
from streamstack_asr.server.outbox import Outbox
from streamstack_asr.server.slots import Lease, NoSlotError, Slots
from streamstack_asr.server.totals import Totals
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE, ms_to_samples

REQUESTED = asr_pb2.Closed.REQUESTED
INVALID = asr_pb2.Closed.INVALID
ENGINE_FAILED = asr_pb2.Closed.ENGINE_FAILED
BACKLOG = asr_pb2.Closed.BACKLOG
LINK_LOST = "LINK_LOST"

MAX_SAMPLE = 1 << 53
MAX_TURN_ID = 1 << 31
"""Where a session may begin: what it can reach from there still fits the contract's types."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all links of one server share."""

    engine: AsrEngine
    slots: Slots
    totals: Totals
    instance_id: str


class _Session:
    """One open session. ``end`` is where its audio ends so far, ``through`` what is decoded, in samples."""

    __slots__ = ("attempt", "end", "engine", "lease", "link", "number", "over", "through", "turn_ended_at", "turn_id")

    def __init__(self, link: "LinkSessions", number: int, request: asr_pb2.Open, lease: Lease) -> None:
        self.link = link
        self.number = number
        self.lease = lease
        self.attempt = request.attempt
        self.turn_id = request.turn_id
        self.end = self.through = self.turn_ended_at = request.first_sample
        self.engine: EngineSession | None = None
        self.over = False

    def emit(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        link = self.link
        if self.over:
            return
        match event:
            case Hypothesis():
                # After an end of turn, hypotheses go through decoded audio again.
                self.through = max(self.through, event.through_sample)
                link.totals.hypotheses += 1
                link.outbox.put(encoding.hypothesis(self.number, self.attempt, event))
            case Final():
                link.totals.finals += 1
                link.outbox.put(encoding.final(self.number, self.attempt, event))
            case TurnEnded():
                link.outbox.put(encoding.turn_ended(self.number, self.attempt, event))
            case Failed():
                link.end_session(self, ENGINE_FAILED, event.message)


class LinkSessions:
    """Sessions of one link by their number."""

    def __init__(self, shared: Shared, outbox: Outbox) -> None:
        self.outbox = outbox
        self.totals = shared.totals
        self._engine = shared.engine
        self._slots = shared.slots
        self._instance_id = shared.instance_id
        self._window_ms = shared.engine.describe().window_ms
        self._window = ms_to_samples(self._window_ms)
        self._open: dict[int, _Session] = {}
        self._used = UsedNumbers()

    def __len__(self) -> int:
        """Open sessions."""
        return len(self._open)

    def receive(self, requests: Iterable[asr_pb2.SessionRequest]) -> None:
        """Carry out what a gateway asks; never raises for anything a gateway can send."""
        for request in requests:
            number = request.session
            kind = request.WhichOneof("request")
            if kind == "open":
                self._open_session(number, request.open)
                continue
            session = self._open.get(number)
            if session is None:
                # What was on its way when the session closed means nothing any more.
                if number not in self._used and kind is not None:
                    self._used.add(number)
                    self._put_closed(number, INVALID, f"session {number} is not open: expected Open before {kind}")
                continue
            try:
                self._carry_out(session, kind, request)
            except EngineError as error:
                self.end_session(session, ENGINE_FAILED, str(error))

    def please_move(self, reason: str, within_ms: int) -> None:
        """Ask every session to go elsewhere."""
        for number in self._open:
            self.outbox.put(encoding.please_move(number, reason, within_ms))

    def close_all(self, reason: asr_pb2.Closed.Reason, message: str) -> None:
        """End every session with a word to the gateway."""
        for session in tuple(self._open.values()):
            self.end_session(session, reason, message)

    def link_lost(self) -> None:
        """End every session; nobody is there to be told."""
        for session in tuple(self._open.values()):
            self._forget(session)
            self.totals.closed[LINK_LOST] += 1

    def end_session(self, session: _Session, reason: asr_pb2.Closed.Reason, message: str) -> None:
        """End one open session with a word to the gateway."""
        self._forget(session)
        self._put_closed(session.number, reason, message)

    def _carry_out(self, session: _Session, kind: str | None, request: asr_pb2.SessionRequest) -> None:
        engine = session.engine
        if engine is None:
            raise EngineError("the engine began no session")
        if kind == "audio":
            self._audio(session, engine, request.audio)
        elif kind == "end_turn":
            self._end_turn(session, engine, request.end_turn)
        elif kind == "update":
            engine.update(config_of(request.update.config))
        elif kind == "close":
            self.end_session(session, REQUESTED, "")
        # Anything else is a request of a newer contract, which says itself how an older server may ignore it.

    def _audio(self, session: _Session, engine: EngineSession, audio: asr_pb2.Audio) -> None:
        pcm = audio.pcm
        offset = audio.offset
        if offset != session.end:
            kind = "a gap" if offset > session.end else "an overlap"
            self.end_session(session, INVALID, f"{kind}: audio at sample {offset}, expected {session.end}")
            return
        if len(pcm) % BYTES_PER_SAMPLE:
            self.end_session(session, INVALID, f"{len(pcm)} bytes of audio: expected 16-bit samples, an even number")
            return
        end = offset + len(pcm) // BYTES_PER_SAMPLE
        if end - session.through > self._window:
            ahead = f"audio up to sample {end}, decoded up to {session.through}"
            self.end_session(session, BACKLOG, f"{ahead}: expected at most {self._window_ms} ms ahead")
            return
        session.end = end
        self.totals.audio_samples += end - offset
        if pcm:
            engine.push(pcm)

    def _end_turn(self, session: _Session, engine: EngineSession, request: asr_pb2.EndTurn) -> None:
        turn_id, through = request.turn_id, request.through_sample
        if turn_id != session.turn_id:
            self.end_session(session, INVALID, f"EndTurn of turn {turn_id}: expected the open turn {session.turn_id}")
            return
        if not session.turn_ended_at <= through <= session.end:
            bounds = f"{session.turn_ended_at} to {session.end}"
            self.end_session(session, INVALID, f"EndTurn at sample {through}: expected {bounds}")
            return
        session.turn_ended_at = through
        session.turn_id = turn_id + 1
        engine.end_turn(turn_id, through)

    def _open_session(self, number: int, request: asr_pb2.Open) -> None:
        try:
            self._use(number)
            _check(request)
            lease = self._slots.take(request.model)
        except NoSlotError as error:
            self.totals.opens[asr_pb2.Refused.Reason.Name(error.reason)] += 1
            self.outbox.put(encoding.refused(number, error.reason, str(error)))
            return
        self.totals.opens["OPENED"] += 1
        session = _Session(self, number, request, lease)
        self._open[number] = session
        self.outbox.put(encoding.opened(number, self._instance_id))
        try:
            session.engine = self._engine.open(start_of(request), session.emit)
        except EngineError as error:
            self.end_session(session, ENGINE_FAILED, str(error))
            return
        if session.over:
            session.engine.close()

    def _use(self, number: int) -> None:
        if number in self._used:
            raise NoSlotError(asr_pb2.Refused.INVALID, f"session number {number} was used before on this link")
        self._used.add(number)

    def _put_closed(self, number: int, reason: asr_pb2.Closed.Reason, message: str) -> None:
        self.totals.closed[asr_pb2.Closed.Reason.Name(reason)] += 1
        self.outbox.put(encoding.closed(number, reason, message))

    def _forget(self, session: _Session) -> None:
        # First, so that whatever the engine still says while it closes is not heard.
        session.over = True
        del self._open[session.number]
        if session.engine is not None:
            session.engine.close()
        self._slots.release(session.lease)


def _check(request: asr_pb2.Open) -> None:
    if request.turn_start_sample < request.first_sample:
        starts = f"the turn starts at sample {request.turn_start_sample}"
        expected = f"expected at least first_sample, {request.first_sample}"
        raise NoSlotError(asr_pb2.Refused.INVALID, f"{starts}: {expected}")
    if request.turn_start_sample > MAX_SAMPLE or request.turn_id > MAX_TURN_ID:
        found = f"turn {request.turn_id} at sample {request.turn_start_sample}"
        raise NoSlotError(
            asr_pb2.Refused.INVALID, f"{found}: expected at most turn {MAX_TURN_ID} and sample {MAX_SAMPLE}"
        )


def config_of(config: asr_pb2.SessionConfig) -> SessionConfig:
    """Translate a configuration."""
    return SessionConfig(tuple(config.keyterms), config.language, config.format)


def start_of(request: asr_pb2.Open) -> SessionStart:
    """Translate an Open."""
    return SessionStart(
        session_id=request.session_id,
        model=request.model,
        first_sample=request.first_sample,
        turn_id=request.turn_id,
        turn_start_sample=request.turn_start_sample,
        config=config_of(request.config),
    )
