import json

from streamstack_asr.engines.nemotron.worker.load import SECONDS, Histogram, Load, Overload

CHUNK = 560.0


def seconds(overload: Overload, *, first_ms: float, waits: list[list[float]]) -> list[bool]:
    """What it says after each second with these waits."""
    said = []
    for index, second in enumerate(waits):
        for wait in second:
            overload.observe(wait_ms=wait, chunk_ms=CHUNK)
        said.append(overload.tick(first_ms + 1_000.0 * index))
    return said


def test_it_is_overloaded_when_more_than_one_chunk_in_twenty_waits_longer_than_a_chunk() -> None:
    fine = [10.0] * 95 + [600.0] * 5
    assert not seconds(Overload(), first_ms=0.0, waits=[fine])[-1]
    assert seconds(Overload(), first_ms=0.0, waits=[[*fine, 600.0]])[-1]


def test_it_is_well_again_only_when_chunks_wait_less_than_half_a_chunk() -> None:
    late, between, good = [600.0] * 50, [400.0] * 50, [10.0] * 50
    said = seconds(Overload(), first_ms=0.0, waits=[late, *[between] * 6, *[good] * 6])
    assert all(said[:7])
    assert not said[-1]
    assert not any(seconds(Overload(), first_ms=0.0, waits=[between] * 6))


def test_an_overloaded_worker_that_has_nothing_left_to_do_is_well_again() -> None:
    said = seconds(Overload(), first_ms=0.0, waits=[[600.0] * 50, *[[]] * 6])
    assert said[0]
    assert not said[-1]


def test_a_single_late_chunk_of_a_few_sessions_decides_nothing() -> None:
    assert not any(seconds(Overload(), first_ms=0.0, waits=[[10.0, 900.0], [10.0], [10.0, 900.0]]))


def test_it_looks_once_a_second() -> None:
    overload = Overload()
    overload.tick(0.0)
    for _ in range(50):
        overload.observe(wait_ms=600.0, chunk_ms=CHUNK)
    assert not overload.tick(999.0)
    assert overload.tick(1_000.0)


def test_a_histogram_counts_up_to_and_with_its_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 6.0)


def test_a_report_is_json_and_tells_lanes_apart() -> None:
    load = Load()
    load.stepped(chunk_ms=80, rows=3, step_ms=20.0)
    load.stepped(chunk_ms=560, rows=1, step_ms=40.0)
    load.waited(chunk_ms=80, wait_ms=3.0)
    report = json.loads(json.dumps(load.report(sessions=4)))
    assert report["sessions"] == 4
    assert report["overloaded"] is False
    assert report["step"]["80"][1] == 0.02
    assert sum(report["step"]["560"][0]) == 1
    assert report["chunk_wait"] == {"80": [[0, 0, 1, *[0] * (len(SECONDS) - 2)], 0.003]}
    assert report["batch"][1] == 4
