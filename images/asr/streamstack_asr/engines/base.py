"""What every engine is to the server: sessions that take audio in and hand events out.

The server owns slots, admission, offsets and links; an engine hides everything a model is. Positions are samples of
the session's 16 kHz audio clock, as in the contract.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.metrics_core import Metric


class EngineError(Exception):
    """The engine cannot be used as asked; the message names what was wrong and what was expected."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session may ask of a model; see ``SessionConfig`` in the contract."""

    keyterms: tuple[str, ...] = ()
    language: str = ""
    format: bool = False


@dataclass(frozen=True, slots=True)
class SessionStart:
    """Where a session begins on this server.

    ``turn_start_sample`` may lie after ``first_sample``: the audio between is context, its words are not reported.
    """

    session_id: str
    model: str
    first_sample: int
    turn_id: int
    turn_start_sample: int
    config: SessionConfig


@dataclass(frozen=True, slots=True)
class Word:
    """One word; ``end_sample`` > ``start_sample``, confidence 0 to 1."""

    text: str
    start_sample: int
    end_sample: int
    confidence: float
    is_final: bool


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """State after one step; field by field as in the contract.

    ``speech_profile`` has the probability of speech, 0 to 1, of each 32 ms window that ended in this step, the oldest
    first; empty where the engine has no such detector.
    """

    turn_id: int
    through_sample: int
    stable_through_sample: int
    words_before: int
    words: tuple[Word, ...]
    speech_probability: float
    trailing_silence_ms: int
    turn_complete_probability: float | None = None
    language: str = ""
    language_confidence: float = 0.0
    speech_profile: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Final:
    """The words that complete a turn, in answer to ``end_turn``; all final."""

    turn_id: int
    words_before: int
    words: tuple[Word, ...]
    language: str = ""
    language_confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """Everything emitted after this belongs to the next turn."""

    turn_id: int
    through_sample: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine lost this session (a worker died); nothing follows. ``message`` is for people."""

    message: str


EngineEvent = Hypothesis | Final | TurnEnded | Failed
Emit = Callable[[EngineEvent], None]
"""Takes one event of one session, in order, on the server's event loop; never blocks, never raises."""


class EngineSession(Protocol):
    """A session inside an engine. No method blocks; audio already pushed may still be undecoded."""

    def push(self, pcm: bytes) -> None:
        """Take audio that follows the last piece without a gap; an even number of bytes."""

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the open turn at ``through_sample`` (not after the pushed audio): Final, then TurnEnded, are emitted.

        Words that start at or after ``through_sample`` belong to the next turn, also when they were already decoded.
        The next turn's hypotheses begin there, step by step, also through audio that was already decoded.
        """

    def update(self, config: SessionConfig) -> None:
        """Use another configuration from here on."""

    def close(self) -> None:
        """Forget the session at once; nothing is emitted afterwards. Idempotent."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording's words."""

    words: tuple[Word, ...]
    language: str = ""


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What an engine is and can do; see ``Description`` in the contract for the fields."""

    engine: str
    models: tuple[str, ...]
    chunk_ms: int
    left_context_ms: int
    window_ms: int = 10_000
    languages: tuple[str, ...] = ()
    word_times: bool = True
    word_confidence: bool = True
    keyterms: bool = False
    punctuation: bool = False
    batch: bool = False
    turn_complete: bool = False
    model: str = ""
    device: str = ""
    precision: str = ""


class EngineCondition(enum.Enum):
    """Whether an engine takes sessions; the value continues "the engine ..."."""

    WELL = "takes sessions"
    OVERLOADED = "is overloaded: those it has go on, and it takes no more"
    DOWN = "has no process that serves; it is starting one"


class AsrEngine(Protocol):
    """A model and what runs it."""

    @property
    def condition(self) -> EngineCondition:
        """How it is now; of meaning after ``start``."""

    def watch(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of ``condition``, on the server's event loop."""

    def metrics(self, prefix: str) -> Iterable[Metric]:
        """Return what the engine counts, for a scrape; each name begins with ``prefix``. Cheap, and never blocks."""

    def describe(self) -> EngineDescription:
        """Constant for the engine's life once it has started; before, the names of the routing models are."""

    def prepare(self) -> None:
        """Do what must happen while the process is still free of threads and of grpc, such as starting a fork server.

        Called once, synchronously, before the event loop exists and before any module of grpc is imported; its threads
        and locks do not survive a fork. Raises EngineError.
        """

    async def start(self) -> None:
        """Load and warm up; on return the first session is as fast as the thousandth. Raises EngineError."""

    def open(self, start: SessionStart, emit: Emit) -> EngineSession:
        """Begin a session; the server has checked slots and model. Raises EngineError when it cannot be had."""

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        """Transcribe a whole recording. Raises EngineError when the engine has no batch mode."""

    async def stop(self) -> None:
        """End every session and worker."""


class SteadyEngine:
    """The part of an engine that is never overloaded and counts nothing: to inherit from."""

    @property
    def condition(self) -> EngineCondition:
        """Well at all times."""
        return EngineCondition.WELL

    def watch(self, listener: Callable[[], None]) -> None:
        """Never calls ``listener``: the condition does not change."""

    def metrics(self, prefix: str) -> Iterable[Metric]:
        """Nothing beyond what the server counts."""
        return ()
