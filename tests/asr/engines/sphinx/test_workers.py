import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamstack_asr.engines.base import EngineError, EngineEvent, Failed, Hypothesis, SessionConfig, TurnEnded
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.engines.sphinx import create
from streamstack_asr.engines.sphinx.engine import SphinxEngine
from support.sphinx_hearing import Clip, Heard, pieces, read_clips, samples, session_start

CARDS = read_clips("cards")
TEN_OF_CLUBS, SEVEN_OF_CLUBS = CARDS[0], CARDS[2]


@asynccontextmanager
async def engine(*, workers: int, decoders_per_worker: int) -> AsyncIterator[SphinxEngine]:
    sphinx = SphinxEngine(models=("en-default",), workers=workers, decoders_per_worker=decoders_per_worker)
    sphinx.prepare()
    await sphinx.start()
    try:
        yield sphinx
    finally:
        await sphinx.stop()


class Listener(Heard):
    """Keeps a session's events and says when its turn ended or it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()
        self.began = asyncio.Event()

    def __call__(self, event: EngineEvent) -> None:
        super().__call__(event)
        self.began.set()
        if isinstance(event, TurnEnded | Failed):
            self.over.set()

    @property
    def failed(self) -> bool:
        return any(isinstance(event, Failed) for event in self.events)


async def hear(sphinx: SphinxEngine, clip: Clip, *, milliseconds: int = 100) -> Listener:
    listener = Listener()
    session = sphinx.open(session_start(), listener)
    for piece in pieces(clip.pcm, milliseconds):
        session.push(piece)
        await asyncio.sleep(0)
    session.end_turn(1, samples(clip.pcm))
    await listener.over.wait()
    session.close()
    return listener


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds, its parent or not having noticed."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(10_000))
    os.close(descriptor)
    return ended


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [grandchild for child in children for grandchild in descendants(child)]


async def test_a_session_hears_the_same_alone_and_among_eight_others() -> None:
    async with engine(workers=1, decoders_per_worker=3) as sphinx:
        alone = await hear(sphinx, TEN_OF_CLUBS)
        among, *others = await asyncio.gather(
            hear(sphinx, TEN_OF_CLUBS), *(hear(sphinx, clip, milliseconds=250) for clip in (*CARDS, *CARDS[:3]))
        )
        assert alone.text(1) == TEN_OF_CLUBS.text
        assert among.turns == alone.turns
        assert among.hypotheses() == alone.hypotheses()
        assert others[0].turns == others[5].turns == alone.turns
        # Nine sessions took three workers; two of them ended with their last session.
        assert len(sphinx.worker_pids) == 1


async def test_a_burst_of_one_session_does_not_hold_up_another() -> None:
    async with engine(workers=1, decoders_per_worker=2) as sphinx:
        order: list[tuple[str, EngineEvent]] = []
        slow = sphinx.open(session_start(), lambda event: order.append(("burst", event)))
        listener = Listener()
        quick = sphinx.open(session_start(), lambda event: (order.append(("quick", event)), listener(event))[0])
        slow.push(TEN_OF_CLUBS.pcm * 6)
        quick.push(SEVEN_OF_CLUBS.pcm[: 32 * 1_000])
        quick.end_turn(1, 16_000)
        await listener.over.wait()
        heard_of_burst = [e for name, e in order if name == "burst" and isinstance(e, Hypothesis)]
        assert len(heard_of_burst) < 60
        assert len(listener.hypotheses()) >= 10


async def test_a_killed_worker_fails_its_own_sessions_and_is_replaced() -> None:
    async with engine(workers=2, decoders_per_worker=1) as sphinx:
        lost, kept = Listener(), Listener()
        pids = sphinx.worker_pids
        first, second = sphinx.open(session_start(), lost), sphinx.open(session_start(), kept)
        for session in (first, second):
            session.push(TEN_OF_CLUBS.pcm[:16_000])
        await asyncio.gather(lost.began.wait(), kept.began.wait())
        os.kill(pids[0], signal.SIGKILL)
        await lost.over.wait()
        assert isinstance(lost.events[-1], Failed)
        assert sum(isinstance(event, Failed) for event in lost.events) == 1
        first.push(b"\x00\x00")  # the server may not have heard of it yet
        first.close()
        second.push(TEN_OF_CLUBS.pcm[16_000:])
        second.end_turn(1, samples(TEN_OF_CLUBS.pcm))
        await kept.over.wait()
        assert kept.text(1) == TEN_OF_CLUBS.text
        heard = await hear(sphinx, SEVEN_OF_CLUBS)
        assert heard.text(1) == SEVEN_OF_CLUBS.text
        assert len(sphinx.worker_pids) == 2
        assert pids[0] not in sphinx.worker_pids


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def test_a_killed_fork_server_costs_no_session_and_is_replaced() -> None:
    async with engine(workers=1, decoders_per_worker=1) as sphinx:
        listener = Listener()
        worker = sphinx.worker_pids[0]
        session = sphinx.open(session_start(), listener)
        session.push(TEN_OF_CLUBS.pcm[:16_000])
        fork_server = parent(worker)
        os.kill(fork_server, signal.SIGKILL)
        assert gone(fork_server)
        heard = await hear(sphinx, SEVEN_OF_CLUBS)  # the one worker is taken, so this needs a new one
        assert heard.text(1) == SEVEN_OF_CLUBS.text
        session.push(TEN_OF_CLUBS.pcm[16_000:])
        session.end_turn(1, samples(TEN_OF_CLUBS.pcm))
        await listener.over.wait()
        assert listener.text(1) == TEN_OF_CLUBS.text
        await sphinx.stop()
        assert gone(worker)


async def test_signals_to_the_whole_group_are_left_to_the_server() -> None:
    async with engine(workers=1, decoders_per_worker=1) as sphinx:
        worker = sphinx.worker_pids[0]
        for pid in (worker, parent(worker)):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert (await hear(sphinx, SEVEN_OF_CLUBS)).text(1) == SEVEN_OF_CLUBS.text
        assert sphinx.worker_pids == (worker,)


async def test_nothing_is_emitted_after_close() -> None:
    async with engine(workers=1, decoders_per_worker=1) as sphinx:
        listener = Listener()
        session = sphinx.open(session_start(), listener)
        session.push(TEN_OF_CLUBS.pcm)
        await listener.began.wait()
        session.close()
        session.close()
        count = len(listener.events)
        await hear(sphinx, SEVEN_OF_CLUBS)
        assert len(listener.events) == count


async def test_stop_leaves_no_process() -> None:
    async with engine(workers=2, decoders_per_worker=1) as sphinx:
        listener = Listener()
        sphinx.open(session_start(), listener).push(TEN_OF_CLUBS.pcm * 3)
        await listener.began.wait()
        pids = sphinx.worker_pids
        assert len(pids) == 2
        await sphinx.stop()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        with pytest.raises(EngineError, match="not running"):
            sphinx.open(session_start(), listener)


SERVER = """
import asyncio, sys
from streamstack_asr.engines.sphinx.engine import SphinxEngine
async def main():
    engine = SphinxEngine(models=("en-default",), workers=2, decoders_per_worker=1)
    await engine.start()
    print("started", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_nothing_survives_a_killed_server() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "started\n"
        processes = descendants(server.pid)
        server.kill()
    assert len(processes) == 3  # the fork server and its two workers
    assert all(gone(pid) for pid in processes)


async def test_a_recording_is_transcribed_while_sessions_go_on() -> None:
    async with engine(workers=1, decoders_per_worker=1) as sphinx:
        listener = Listener()
        sphinx.open(session_start(), listener).push(TEN_OF_CLUBS.pcm)
        transcript, _ = await asyncio.gather(
            sphinx.transcribe(SEVEN_OF_CLUBS.pcm, SessionConfig()), listener.began.wait()
        )
        assert " ".join(word.text for word in transcript.words) == SEVEN_OF_CLUBS.text
        assert len(sphinx.worker_pids) == 1


async def test_a_model_that_cannot_be_loaded_is_an_engine_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POCKETSPHINX_PATH", str(tmp_path))
    sphinx = create(EngineOptions(models=("en-default",), workers=1))
    with pytest.raises(EngineError, match="no model"):
        await sphinx.start()


async def test_a_session_before_start_is_refused() -> None:
    with pytest.raises(EngineError, match="not running"):
        create(EngineOptions(models=("en-default",), workers=1)).open(session_start(), Listener())


@pytest.mark.parametrize(("models", "workers"), [((), 1), (("",), 1), (("en-default",), -1)])
def test_wrong_arguments_are_named(models: tuple[str, ...], workers: int) -> None:
    with pytest.raises(EngineError, match="expected"):
        create(EngineOptions(models=models, workers=workers))


def test_the_description_promises_what_the_engine_does() -> None:
    description = create(EngineOptions(models=("en-default", "u3-pro"), workers=0)).describe()
    assert description.models == ("en-default", "u3-pro")
    assert description.languages == ("en",)
    assert description.batch
    assert description.chunk_ms == 100
    assert not description.keyterms
