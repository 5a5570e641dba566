"""The engine with real worker processes and the small model: sessions, turns, recordings, and a worker that dies."""

import asyncio
import os
import signal
import wave
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamstack_asr.engines import registry
from streamstack_asr.engines.base import (
    EngineError,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
)
from streamstack_asr.engines.nemotron.engine import NemotronEngine
from streamstack_asr.engines.options import EngineOptions
from support.fake_fleet import TESTS, TINY, Listener, until

pytestmark = [pytest.mark.nemotron, pytest.mark.asyncio(loop_scope="module")]

CARDS = TESTS / "fixtures" / "recordings" / "cards"
TEN_OF_CLUBS, FOUR_THREE_OF_CLUBS = "ten of clubs", "four three of clubs"


def pcm_of(name: str, folder: Path = CARDS) -> bytes:
    with wave.open(str(folder / f"{name}.wav")) as recording:
        pcm: bytes = recording.readframes(recording.getnframes())
    return pcm


def engine_of(**options: Any) -> NemotronEngine:
    chosen: dict[str, Any] = {"models": ("en-default", "en-fast"), "slots": 6, "model_dir": str(TINY), "device": "cpu"}
    made = registry.create("nemotron", EngineOptions(**chosen | {"precision": "fp32"} | options))
    assert isinstance(made, NemotronEngine)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[NemotronEngine]:
    """One engine for all tests that leave its worker alive: it takes seconds to load torch."""
    made = engine_of(chunk_ms="en-default=320,en-fast=80")
    await made.start()
    yield made
    await made.stop()


def start(*, model: str = "en-default", config: SessionConfig | None = None, first: int = 0) -> SessionStart:
    return SessionStart("s", model, first, 1, first, config or SessionConfig())


def pieces(pcm: bytes, milliseconds: int) -> Iterable[bytes]:
    size = 32 * milliseconds
    return (pcm[offset : offset + size] for offset in range(0, len(pcm), size))


async def hear(engine: NemotronEngine, pcm: bytes, *, milliseconds: int = 100, **begin: Any) -> Listener:
    listener = Listener()
    began = start(**begin)
    session = engine.open(began, listener)
    for piece in pieces(pcm, milliseconds):
        session.push(piece)
        await asyncio.sleep(0)
    session.end_turn(1, began.first_sample + len(pcm) // 2)
    await listener.over.wait()
    session.close()
    return listener


def spoken(listener: Listener) -> str:
    return " ".join(listener.texts)


async def test_sessions_hear_the_right_words_alone_and_together_at_any_chunk(engine: NemotronEngine) -> None:
    ten, four = pcm_of("001"), pcm_of("002")
    alone = await hear(engine, ten)
    assert spoken(alone) == TEN_OF_CLUBS
    together = await asyncio.gather(
        hear(engine, ten, milliseconds=50),
        hear(engine, four, milliseconds=250),
        hear(engine, ten, model="en-fast", first=32_000),
        hear(engine, four, milliseconds=1_000),
    )
    assert [spoken(one) for one in together] == [TEN_OF_CLUBS, FOUR_THREE_OF_CLUBS, TEN_OF_CLUBS, FOUR_THREE_OF_CLUBS]
    assert times(together[0]) == times(alone)


def hypotheses(listener: Listener) -> list[Hypothesis]:
    return [event for event in listener.events if isinstance(event, Hypothesis)]


def times(listener: Listener) -> list[tuple[str, int, int]]:
    """Of every word, each once, whichever turn it came in."""
    found: dict[int, list[tuple[str, int, int]]] = {}
    for event in listener.events:
        if isinstance(event, Hypothesis | Final):
            words = found.setdefault(event.turn_id, [])
            del words[event.words_before :]
            words += [(word.text, word.start_sample, word.end_sample) for word in event.words if word.is_final]
    return [word for turn in sorted(found) for word in found[turn]]


async def test_every_step_tells_of_speech_and_of_how_far_it_is(engine: NemotronEngine) -> None:
    pcm = pcm_of("001")
    steps = hypotheses(await hear(engine, pcm))
    through = [step.through_sample for step in steps]
    assert through == [3 * 1_280 + 256 + 5_120 * index for index in range(len(through))]
    windows = [probability for step in steps for probability in step.speech_profile]
    assert len(windows) == through[-1] // 512
    assert max(windows) > 0.9
    assert min(windows) < 0.1


async def test_a_turn_ends_at_once_with_words_that_no_step_has_decoded(engine: NemotronEngine) -> None:
    """All but 100 ms of its silence is cut off: no step's worth of audio follows the last word."""
    pcm = pcm_of("001")
    whole = await hear(engine, pcm)
    last = max(word.end_sample for event in whole.events if isinstance(event, Final) for word in event.words)
    cut = await hear(engine, pcm[: 2 * (last + 1_600)])
    assert spoken(cut) == TEN_OF_CLUBS
    assert isinstance(cut.events[-1], TurnEnded)


async def test_words_come_once_and_in_their_own_turn_wherever_turns_end(engine: NemotronEngine) -> None:
    ten, four = pcm_of("001"), pcm_of("002")
    whole = await hear(engine, ten + four)
    listener = Listener()
    session = engine.open(start(), listener)
    session.push(ten + four)
    session.end_turn(1, len(ten) // 2)
    await listener.over.wait()
    listener.over.clear()
    assert [text for text, _, _ in times(listener)] == TEN_OF_CLUBS.split()
    session.end_turn(2, len(ten + four) // 2)
    await listener.over.wait()
    session.close()
    assert [text for text, _, _ in times(listener)] == [text for text, _, _ in times(whole)]


async def test_a_recording_is_transcribed_beside_sessions(engine: NemotronEngine) -> None:
    four = pcm_of("002")
    transcript, beside = await asyncio.gather(
        engine.transcribe(four, SessionConfig()), hear(engine, pcm_of("001"), milliseconds=50)
    )
    assert " ".join(word.text for word in transcript.words) == FOUR_THREE_OF_CLUBS
    assert transcript.language == "en"
    assert spoken(beside) == TEN_OF_CLUBS


async def test_a_recording_longer_than_what_a_session_may_be_ahead_is_transcribed(engine: NemotronEngine) -> None:
    pcm = pcm_of("002") * 6
    transcript = await engine.transcribe(pcm, SessionConfig())
    assert len(pcm) > 32 * engine.describe().window_ms
    assert [(word.text, word.start_sample, word.end_sample) for word in transcript.words] == times(
        await hear(engine, pcm)
    )


async def test_a_language_that_the_model_does_not_hear_is_refused_with_those_it_does(engine: NemotronEngine) -> None:
    with pytest.raises(EngineError, match="language 'de': expected en"):
        engine.open(start(config=SessionConfig(language="de")), Listener())
    session = engine.open(start(config=SessionConfig(language="en-GB")), Listener())
    with pytest.raises(EngineError, match="expected en"):
        session.update(SessionConfig(language="fr"))
    session.close()


async def test_key_terms_of_any_kind_leave_a_session_alive(engine: NemotronEngine) -> None:
    many = tuple(f"{'very ' * 9}long term {number}" for number in range(300))
    config = SessionConfig(keyterms=("", " ", "clubs", "日本語", "\x00", "x" * 5_000, *many))
    heard = await hear(engine, pcm_of("001"), config=config)
    assert "clubs" in heard.texts
    listener = Listener()
    session = engine.open(start(), listener)
    session.push(pcm_of("001"))
    session.update(config)
    session.update(SessionConfig())
    session.end_turn(1, len(pcm_of("001")) // 2)
    await listener.over.wait()
    session.close()
    assert listener.failures == []


async def test_the_description_is_what_is_served(engine: NemotronEngine) -> None:
    description = engine.describe()
    assert (description.device, description.precision, description.chunk_ms) == ("cpu", "fp32", 80)
    assert description.model == "tiny"


async def test_a_session_that_loses_its_worker_is_told_and_can_begin_again_elsewhere() -> None:
    engine = engine_of(workers=2, slots=2)
    await engine.start()
    try:
        lost = Listener()
        session = engine.open(start(), lost)
        ten = pcm_of("001")
        session.push(ten[: len(ten) // 2])
        await lost.began.wait()
        [serving] = [worker for worker in engine.fleet.workers if worker.sessions]
        os.kill(serving.pid, signal.SIGKILL)
        await lost.over.wait()
        assert len(lost.failures) == 1
        session.close()
        assert spoken(await hear(engine, ten)) == TEN_OF_CLUBS
        await until(engine, lambda: len(engine.worker_pids) == 2)
        assert serving.pid not in engine.worker_pids
    finally:
        await engine.stop()


async def test_a_precision_that_the_device_has_not_stops_the_start_with_words() -> None:
    with pytest.raises(EngineError, match="precision 'fp16' on a CPU: expected auto, bf16 or fp32"):
        await engine_of(precision="fp16").start()


async def test_a_gpu_that_is_asked_for_and_missing_stops_the_start_with_words() -> None:
    with pytest.raises(EngineError, match=r"expected a build with CUDA|no NVIDIA driver is to be seen here"):
        await engine_of(device="cuda").start()


async def test_a_session_before_start_is_refused() -> None:
    with pytest.raises(EngineError, match="not running"):
        engine_of().open(start(), Listener())
