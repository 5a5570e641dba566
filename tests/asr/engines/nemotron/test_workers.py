"""Worker processes: placing, death, freezing, replacement and load. They hold a fake model."""

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamstack_asr.engines.base import EngineCondition, EngineError, SessionConfig, SessionStart
from streamstack_asr.engines.nemotron.engine import NemotronEngine, NemotronSession
from support import fake_fleet
from support.fake_fleet import Listener, becomes, running, until
from support.fake_slots import FRAME, marked
from support.waiting import eventually

WELL, OVERLOADED, DOWN = EngineCondition.WELL, EngineCondition.OVERLOADED, EngineCondition.DOWN


def opened(engine: NemotronEngine, listener: Listener) -> NemotronSession:
    return engine.open(SessionStart("s", "en-default", 0, 1, 0, SessionConfig()), listener)


async def hear(engine: NemotronEngine, frames: list[int]) -> Listener:
    """One session from its start to the end of its turn."""
    listener = Listener()
    session = opened(engine, listener)
    session.push(marked(frames))
    session.end_turn(1, len(frames) * FRAME)
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


async def test_sessions_of_one_worker_hear_their_own_words() -> None:
    async with running(slots=4) as engine:
        heard = await asyncio.gather(*(hear(engine, [number] * 9) for number in (1, 2, 3, 4)))
        assert [one.texts for one in heard] == [[f"w{number}"] * 9 for number in (1, 2, 3, 4)]


async def test_sessions_go_to_the_worker_with_the_most_free_slots() -> None:
    async with running(workers=2, slots=4) as engine:
        sessions = [opened(engine, Listener()) for _ in range(4)]
        assert loads(engine) == [2, 2]
        sessions[0].close()
        sessions[2].close()
        opened(engine, Listener())
        assert loads(engine) == [1, 2]


def loads(engine: NemotronEngine) -> list[int]:
    return sorted(len(worker.sessions) for worker in engine.fleet.workers)


async def test_an_overloaded_worker_is_spared_while_another_is_not() -> None:
    async with running(workers=2, slots=4) as engine:
        busy, idle = engine.fleet.workers
        busy.report = {"overloaded": True}
        assert engine.fleet.condition is WELL
        opened(engine, Listener())
        opened(engine, Listener())
        assert (len(busy.sessions), len(idle.sessions)) == (0, 2)


async def test_what_a_worker_logs_is_in_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with running(says="the tables hold no more") as engine:
            [record] = [record for record in caplog.records if record.message == "the tables hold no more"]
            assert (record.levelno, record.name) == (logging.WARNING, "fake")
            assert record.__dict__["worker"] == engine.worker_pids[0]


async def test_a_killed_worker_fails_its_own_sessions_and_is_replaced() -> None:
    async with running(workers=2, slots=2) as engine:
        lost, kept = Listener(), Listener()
        first, second = opened(engine, lost), opened(engine, kept)
        for session in (first, second):
            session.push(marked([1] * 5))
        await asyncio.gather(lost.began.wait(), kept.began.wait())
        pids = engine.worker_pids
        os.kill(pids[0], signal.SIGKILL)
        await lost.over.wait()
        assert len(lost.failures) == 1
        assert f"pid {pids[0]}" in lost.failures[0].message
        first.push(b"\x00\x00")  # the server may not have heard of it yet
        first.close()
        second.push(marked([2] * 5))
        second.end_turn(1, 10 * FRAME)
        await kept.over.wait()
        assert kept.failures == []
        await until(engine, lambda: len(engine.worker_pids) == 2)
        assert pids[0] not in engine.worker_pids
        assert (await hear(engine, [3] * 4)).texts == ["w3"] * 4


async def test_a_frozen_worker_is_noticed_killed_and_replaced() -> None:
    async with running(slots=1, frozen_seconds=1.0) as engine:
        listener = Listener()
        session = opened(engine, listener)
        session.push(marked([1] * 5))
        await listener.began.wait()
        [frozen] = engine.worker_pids
        os.kill(frozen, signal.SIGSTOP)
        await listener.over.wait()
        assert len(listener.failures) == 1
        session.close()
        assert gone(frozen)
        await becomes(engine, WELL)
        assert engine.worker_pids != (frozen,)
        assert (await hear(engine, [2] * 3)).texts == ["w2"] * 3


async def test_a_worker_that_has_nothing_to_do_is_not_taken_for_frozen() -> None:
    async with running(frozen_seconds=1.0) as engine:
        pids, worker = engine.worker_pids, engine.fleet.workers[0]
        beats: list[object] = []

        async def beat_often() -> bool:
            if not beats or worker.report is not beats[-1]:
                beats.append(worker.report)
            return len(beats) >= 12  # of 250 ms: longer than it may be silent

        await eventually(beat_often)
        assert engine.worker_pids == pids


async def test_without_a_worker_the_engine_is_down_and_says_at_every_try_why_none_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cannot = tmp_path / "cannot"

    async def said_thrice() -> bool:
        return caplog.text.count("fallen off the bus") >= 3

    async with running(slots=1, cannot=str(cannot)) as engine:
        cannot.write_text("the GPU has fallen off the bus")
        with caplog.at_level(logging.ERROR):
            os.kill(engine.worker_pids[0], signal.SIGKILL)
            await becomes(engine, DOWN)
            with pytest.raises(EngineError, match="no worker"):
                opened(engine, Listener())
            await eventually(said_thrice)
        assert engine.condition is DOWN
        cannot.unlink()
        await becomes(engine, WELL)
        assert (await hear(engine, [2] * 3)).texts == ["w2"] * 3


async def test_why_a_worker_cannot_serve_is_why_the_engine_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "cannot").write_text("model.safetensors: missing, expected the weights")
    engine = fake_fleet.made(workers=2, cannot=str(tmp_path / "cannot"))
    with pytest.raises(EngineError, match=r"model\.safetensors: missing, expected the weights"):
        await engine.start()
    assert engine.fleet.workers == []


async def test_a_worker_that_dies_before_it_serves_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "dies").touch()
    with pytest.raises(EngineError, match="died before it served"):
        await fake_fleet.made(dies=str(tmp_path / "dies")).start()


async def test_an_overloaded_worker_takes_no_more_keeps_its_sessions_and_recovers() -> None:
    async with running(slots=4, step_seconds=0.3) as engine:
        listeners = [Listener() for _ in range(3)]
        sessions = [opened(engine, listener) for listener in listeners]
        stopping = asyncio.Event()

        async def speak() -> None:
            """In real time, which is faster than the worker is: 160 ms of audio in 160 ms."""
            while not stopping.is_set():
                for session in sessions:
                    session.push(marked([1, 1]))
                await asyncio.sleep(0.16)

        speaking = asyncio.create_task(speak())
        await becomes(engine, OVERLOADED)
        assert engine.worker_pids
        heard = len(listeners[0].events)
        listeners[0].began.clear()
        await listeners[0].began.wait()
        assert len(listeners[0].events) > heard
        stopping.set()
        await speaking
        for session in sessions:
            session.close()
        await becomes(engine, WELL)
        assert not any(listener.failures for listener in listeners)


async def test_signals_to_the_whole_group_are_left_to_the_server() -> None:
    async with running(slots=1) as engine:
        pids = engine.worker_pids
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pids[0], number)
        assert (await hear(engine, [3] * 4)).texts == ["w3"] * 4
        assert engine.worker_pids == pids


async def test_nothing_is_emitted_after_close() -> None:
    async with running(slots=2, step_seconds=0.02) as engine:
        listener = Listener()
        session = opened(engine, listener)
        session.push(marked([1] * 60))
        await listener.began.wait()
        session.close()
        session.close()
        count = len(listener.events)
        await hear(engine, [2] * 9)
        assert len(listener.events) == count
        assert engine.fleet.workers[0].free == engine.fleet.workers[0].capacity


async def test_stop_leaves_no_process_and_refuses_sessions() -> None:
    async with running(workers=2) as engine:
        pids = engine.worker_pids
        opened(engine, Listener()).push(marked([1] * 90))
        await engine.stop()
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        with pytest.raises(EngineError, match="no worker"):
            opened(engine, Listener())
        await engine.stop()


async def test_a_frozen_worker_does_not_hold_up_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstack_asr.engines.nemotron.fleet._END_SECONDS", 0.1)
    async with running() as engine:
        [pid] = engine.worker_pids
        os.kill(pid, signal.SIGSTOP)
        await engine.stop()
        assert not Path(f"/proc/{pid}").exists()


SERVER = """
import asyncio, sys
from support import fake_fleet
async def main():
    engine = fake_fleet.made(workers=2)
    await engine.start()
    print(*engine.worker_pids, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_nothing_survives_a_killed_server() -> None:
    environment = {**os.environ, "PYTHONPATH": str(fake_fleet.TESTS)}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGSTOP)  # even one that cannot see its socket's end
        server.kill()
    assert all(gone(pid) for pid in pids)


async def test_a_lost_worker_of_two_leaves_room_for_what_the_other_can_take(tmp_path: Path) -> None:
    cannot = tmp_path / "cannot"
    async with running(workers=2, slots=4, cannot=str(cannot)) as engine:
        cannot.write_text("not now")
        os.kill(engine.worker_pids[0], signal.SIGKILL)
        await until(engine, lambda: len(engine.worker_pids) == 1)
        capacity = engine.fleet.serving[0].capacity
        sessions = [opened(engine, Listener()) for _ in range(capacity)]
        assert engine.condition is OVERLOADED
        with pytest.raises(EngineError, match="free slot"):
            opened(engine, Listener())
        sessions[0].close()
        assert engine.condition is WELL
