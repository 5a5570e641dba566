"""The nemotron engine with worker processes that hold the fake model."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamstack_asr.engines.base import EngineCondition, EngineEvent, Failed, Final, Hypothesis, TurnEnded
from streamstack_asr.engines.nemotron.engine import NemotronEngine
from streamstack_asr.engines.nemotron.fleet import Fleet
from streamstack_asr.engines.options import EngineOptions
from support.waiting import Waiting

TESTS = Path(__file__).parents[1]
TINY = TESTS / "fixtures" / "models" / "tiny"
FAKE_WORKER = TESTS / "support" / "fake_worker.py"


def made(
    *,
    workers: int = 1,
    slots: int = 4,
    chunk_ms: str = "160",
    models: tuple[str, ...] = ("en-default",),
    frozen_seconds: float = 10.0,
    first_backoff_seconds: float = 0.05,
    **worker_options: Any,
) -> NemotronEngine:
    options = EngineOptions(
        models=models, workers=workers, slots=slots, chunk_ms=chunk_ms, model_dir=str(TINY), device="cpu"
    )
    command = (sys.executable, str(FAKE_WORKER), json.dumps(worker_options))
    fleet = Fleet(command=command, frozen_seconds=frozen_seconds, first_backoff_seconds=first_backoff_seconds)
    return NemotronEngine(options, fleet=fleet)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[NemotronEngine]:
    engine = made(**options)
    engine.prepare()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def until(engine: NemotronEngine, holds: Callable[[], object]) -> None:
    """Wait for a change of any worker after which ``holds``."""
    waiting, tell = Waiting(), engine.fleet.changed

    def changed() -> None:
        tell()
        waiting.notify()

    engine.fleet.changed = changed
    try:
        await waiting.until(holds)
    finally:
        engine.fleet.changed = tell


async def becomes(engine: NemotronEngine, condition: EngineCondition) -> None:
    await until(engine, lambda: engine.condition is condition)


class Listener:
    """Keeps a session's events, and says when something came, or its turn ended or it failed."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.began = asyncio.Event()
        self.over = asyncio.Event()

    def __call__(self, event: EngineEvent) -> None:
        self.events.append(event)
        self.began.set()
        if isinstance(event, TurnEnded | Failed):
            self.over.set()

    @property
    def failures(self) -> list[Failed]:
        return [event for event in self.events if isinstance(event, Failed)]

    @property
    def texts(self) -> list[str]:
        return [
            word.text
            for event in self.events
            if isinstance(event, Hypothesis | Final)
            for word in event.words
            if word.is_final
        ]
