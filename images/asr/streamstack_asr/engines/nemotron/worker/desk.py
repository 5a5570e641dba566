"""The sessions of one worker and their slots: who is ready is stepped together, and what was heard is handed out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from streamstack_asr.engines.base import EngineEvent, Failed, SessionConfig, SessionStart
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES
from streamstack_asr.engines.nemotron.worker.load import Load
from streamstack_asr.engines.nemotron.worker.machinery import Machinery, RowResult, Samples
from streamstack_asr.engines.nemotron.worker.scheduler import Scheduler
from streamstack_asr.engines.nemotron.worker.session import Session

Tell = Callable[[int, EngineEvent], None]
"""Takes a session's number and its event."""

_NO_SLOT: Final = "the worker has no free slot for this session"


class Desk:
    """Sessions by number. Every call says what time it is, in ms; ``tell`` gets what it leads to."""

    def __init__(self, machinery: Machinery, tell: Tell, *, scheduler: Scheduler | None = None) -> None:
        self.load = Load()
        self._machinery = machinery
        self._model = machinery.model
        self._tell = tell
        self._scheduler = scheduler or Scheduler()
        self._sessions: dict[int, Session] = {}
        self._slots = deque(range(machinery.slots))
        self._copies = deque(range(machinery.slots, machinery.slots + machinery.model.spare_slots))
        self._copy_of: dict[int, int] = {}
        self._want_copies: deque[int] = deque()

    def open(self, number: int, start: SessionStart) -> None:
        """Begin a session in a free slot."""
        if not self._slots:
            self._tell(number, Failed(_NO_SLOT))
            return
        slot = self._slots.popleft()
        lookahead = self._machinery.lookaheads[start.model]
        self._model.reset(slot)
        self._machinery.detector.reset(slot)
        self._configure(slot, start.config)
        recogniser = self._machinery.recogniser(start, lookahead)
        self._sessions[number] = Session(start, slot=slot, lookahead=lookahead, recogniser=recogniser)
        self._scheduler.join(lookahead)

    def push(self, number: int, pcm: bytes, now_ms: float) -> None:
        """Take a session's audio."""
        session = self._sessions.get(number)
        if session is not None:
            session.push(pcm, now_ms)
            self._look_at(number, session, now_ms)

    def end_turn(self, number: int, turn_id: int, through_sample: int, now_ms: float) -> None:
        """End a session's turn."""
        session = self._sessions.get(number)
        if session is not None:
            self._emit(number, session.end_turn(turn_id, through_sample))
            self._look_at(number, session, now_ms)

    def update(self, number: int, config: SessionConfig) -> None:
        """Configure a session anew."""
        session = self._sessions.get(number)
        if session is not None:
            self._configure(session.slot, config)

    def close(self, number: int, now_ms: float) -> None:
        """Forget a session; its slot is free at once."""
        session = self._sessions.pop(number, None)
        if session is None:
            return
        self._scheduler.leave(session.place.lookahead, number)
        self._slots.append(session.slot)
        self._free_copy(number, now_ms)

    def due_ms(self) -> float | None:
        """When a step is due; None when nothing can be stepped."""
        return self._scheduler.due_ms()

    def step(self, now_ms: float, clock_ms: Callable[[], float]) -> None:
        """Make the step that is due, if one is; ``clock_ms`` says when it was over."""
        batch = self._scheduler.take(now_ms)
        if batch is None:
            return
        rows = [(number, self._sessions[number]) for number in batch.sessions]
        audio = np.zeros((len(rows), FRAME_SAMPLES * (batch.lookahead + 1)), np.int16)
        parts = [session.row(target) for target, (_, session) in zip(audio, rows, strict=True)]
        heard = [(one.slot, part) for part, (_, one) in zip(parts, rows, strict=True) if one.flush is None]
        for _, session in rows:
            if session.flush is None:
                self.load.waited(chunk_ms=session.chunk_ms, wait_ms=max(0.0, now_ms - session.due_ms()))
        slots = [one.slot if one.flush is None else self._copy_of[number] for number, one in rows]
        results, speech = self._run(batch.lookahead, slots, audio, heard)
        over_ms = clock_ms()
        self.load.stepped(chunk_ms=rows[0][1].chunk_ms, rows=len(rows), step_ms=over_ms - now_ms)
        for (number, session), result in zip(rows, results, strict=True):
            if session.flush is None:
                self._emit(number, session.stepped(result, next(speech)))
            else:
                self._emit(number, session.flushed(result))
                if session.flush is None or session.flush.place == session.place:
                    self._free_copy(number, over_ms)  # over; what the next turn's end needs is another copy
            self._look_at(number, session, over_ms)

    def report(self) -> dict[str, Any]:
        """What it counted, for JSON."""
        return self.load.report(sessions=len(self._sessions))

    def _run(
        self, lookahead: int, slots: list[int], audio: Samples, heard: list[tuple[int, Samples]]
    ) -> tuple[Sequence[RowResult], Iterator[tuple[float, ...]]]:
        """Step the model, and the detector at the same time where a thread is given for it."""
        machinery = self._machinery
        if not heard:
            return self._model.step(lookahead, slots, audio), iter(())
        if machinery.aside is None:
            return self._model.step(lookahead, slots, audio), iter(machinery.detector.probabilities(heard))
        speech = machinery.aside.submit(machinery.detector.probabilities, heard)
        return self._model.step(lookahead, slots, audio), iter(speech.result())

    def _look_at(self, number: int, session: Session, now_ms: float) -> None:
        """Let a session wait for its next step, with a copy of its slot where it needs one."""
        if session.flush is not None and number not in self._copy_of:
            if number not in self._want_copies:
                self._want_copies.append(number)
            self._give_copies(now_ms)
        elif session.has_row:
            self._scheduler.add(session.place.lookahead, number, now_ms)

    def _give_copies(self, now_ms: float) -> None:
        while self._copies and self._want_copies:
            number = self._want_copies.popleft()
            session = self._sessions[number]
            copy = self._copy_of[number] = self._copies.popleft()
            self._model.copy(session.slot, copy)
            self._scheduler.add(session.place.lookahead, number, now_ms)

    def _free_copy(self, number: int, now_ms: float) -> None:
        if number in self._want_copies:
            self._want_copies.remove(number)
        copy = self._copy_of.pop(number, None)
        if copy is not None:
            self._copies.append(copy)
            self._give_copies(now_ms)

    def _configure(self, slot: int, config: SessionConfig) -> None:
        asked = self._machinery.asked(config)
        self._model.set_keyterms(slot, asked.terms)
        if asked.prompt is not None:
            self._model.set_prompt(slot, asked.prompt)

    def _emit(self, number: int, events: Iterable[EngineEvent]) -> None:
        for event in events:
            self._tell(number, event)
