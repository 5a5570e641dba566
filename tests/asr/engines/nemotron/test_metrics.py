import os
import signal
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from streamstack_asr.engines.base import SessionConfig, SessionStart
from streamstack_asr.engines.nemotron.engine import NemotronEngine
from streamstack_asr.engines.nemotron.metrics import Totals
from streamstack_asr.engines.nemotron.worker.load import Load
from support.fake_fleet import Listener, running, until
from support.fake_slots import FRAME, marked
from support.waiting import eventually


def scraped(metrics: Any) -> dict[str, float]:
    class Once(Collector):
        def collect(self) -> Any:
            return metrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def report(*, rows: int, chunk_ms: int = 560) -> dict[str, Any]:
    load = Load()
    load.stepped(chunk_ms=chunk_ms, rows=rows, step_ms=20.0)
    load.waited(chunk_ms=chunk_ms, wait_ms=3.0)
    return load.report(sessions=rows)


def test_the_histograms_of_all_workers_are_added_up() -> None:
    found = scraped(Totals().metrics("p_", [report(rows=3), report(rows=5)]))
    assert found['p_step_seconds_bucket{chunk_ms="560",le="0.01"}'] == 0
    assert found['p_step_seconds_bucket{chunk_ms="560",le="0.025"}'] == 2
    assert found['p_step_seconds_count{chunk_ms="560"}'] == 2
    assert found['p_step_seconds_sum{chunk_ms="560"}'] == 0.04
    assert found['p_chunk_wait_seconds_bucket{chunk_ms="560",le="0.005"}'] == 2
    assert found['p_batch_size_bucket{le="4"}'] == 1
    assert found["p_batch_size_sum"] == 8


def test_lanes_are_told_apart() -> None:
    found = scraped(Totals().metrics("p_", [report(rows=1), report(rows=1, chunk_ms=80)]))
    assert found['p_step_seconds_count{chunk_ms="80"}'] == found['p_step_seconds_count{chunk_ms="560"}'] == 1


def test_a_worker_that_died_takes_nothing_away() -> None:
    totals = Totals()
    totals.keep(report(rows=3))
    totals.keep({})  # it died before its first beat
    assert scraped(totals.metrics("p_", [report(rows=5)]))["p_batch_size_sum"] == 8


async def test_an_engine_tells_of_its_workers_and_what_they_did() -> None:
    async with running(slots=3) as engine:
        listener = Listener()
        session = engine.open(SessionStart("s", "en-default", 0, 1, 0, SessionConfig()), listener)
        session.push(marked([1] * 8))
        session.end_turn(1, 8 * FRAME)
        await listener.over.wait()
        found = await after_a_beat(engine)
        assert found["p_engine_slots_in_use"] == 1
        assert found["p_engine_slots"] == 3
        assert (found["p_workers"], found["p_workers_overloaded"]) == (1, 0)
        # Four steps of two frames, the first of which needs a frame less; a flush is no chunk that waits.
        assert found['p_chunk_wait_seconds_count{chunk_ms="160"}'] == 4
        assert found['p_step_seconds_count{chunk_ms="160"}'] >= 5
        [pid] = engine.worker_pids
        os.kill(pid, signal.SIGKILL)
        await until(engine, lambda: engine.worker_pids not in ((), (pid,)))
        again = scraped(engine.metrics("p_"))
        assert again["p_worker_restarts_total"] == 1
        assert again['p_chunk_wait_seconds_count{chunk_ms="160"}'] == 4


async def after_a_beat(engine: NemotronEngine) -> dict[str, float]:
    """What it tells once the worker has told of all its steps."""
    worker = engine.fleet.workers[0]
    before = worker.report

    async def told() -> bool:
        return worker.report is not before

    await eventually(told)
    return scraped(engine.metrics("p_"))
