"""The server-side face of the scripted engine; what is heard is decided in ``session.py`` from the samples alone."""

from typing import Final

from streamstack_asr.engines.base import (
    Emit,
    EngineDescription,
    EngineEvent,
    EngineSession,
    Hypothesis,
    SessionConfig,
    SessionStart,
    SteadyEngine,
    Transcript,
    Word,
)
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.scripted.session import CHUNK_MS, ScriptedSession
from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE

LEFT_CONTEXT_MS: Final = 200


class ScriptedEngine(SteadyEngine):
    """Hands out sessions that read markers."""

    def __init__(self, models: tuple[str, ...]) -> None:
        self._description = EngineDescription(
            engine="scripted",
            models=models,
            chunk_ms=CHUNK_MS,
            left_context_ms=LEFT_CONTEXT_MS,
            languages=("en",),
            batch=True,
        )

    def describe(self) -> EngineDescription:
        """Chunks of 40 ms, 200 ms of context, batch mode."""
        return self._description

    def prepare(self) -> None:
        """Nothing to do."""

    async def start(self) -> None:
        """Nothing to load."""

    def open(self, start: SessionStart, emit: Emit) -> EngineSession:
        """Begin a session; never fails."""
        return ScriptedSession(start, emit)

    async def transcribe(self, pcm: bytes, config: SessionConfig) -> Transcript:
        """Read a whole recording as one turn."""
        words: list[Word] = []

        def collect(event: EngineEvent) -> None:
            if isinstance(event, Hypothesis | FinalWords):
                words.extend(word for word in event.words if word.is_final)

        session = ScriptedSession(SessionStart("", "", 0, 0, 0, config), collect)
        session.push(pcm)
        session.end_turn(0, len(pcm) // BYTES_PER_SAMPLE)
        session.close()
        return Transcript(tuple(words))

    async def stop(self) -> None:
        """Nothing to end."""
