"""What the workers count, added up for a scrape; a worker that died takes nothing away from the counters."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from streamstack_asr.engines.nemotron.worker.load import ROWS, SECONDS

Counts = tuple[list[int], float]


class Totals:
    """Histograms of steps, waits and batches, over all workers there ever were."""

    def __init__(self) -> None:
        self._past: dict[tuple[str, str], Counts] = {}

    def keep(self, report: dict[str, Any]) -> None:
        """Take over the last report of a worker that died."""
        self._past = _sum([self._past, _read(report)])

    def metrics(self, prefix: str, reports: Iterable[dict[str, Any]]) -> Iterator[Metric]:
        """Yield the histograms of these reports and of what was kept."""
        totals = _sum([self._past, *(_read(report) for report in reports)])
        for name, text in (
            ("chunk_wait", "From a chunk's audio to the begin of its step, by chunk in ms."),
            ("step", "A step of one batch, by chunk in ms."),
        ):
            family = HistogramMetricFamily(f"{prefix}{name}_seconds", text, labels=["chunk_ms"])
            for (kind, chunk), counts in sorted(totals.items()):
                if kind == name:
                    family.add_metric([chunk], *_buckets(SECONDS, counts))
            yield family
        batch = HistogramMetricFamily(f"{prefix}batch_size", "Sessions that took a step together.", labels=[])
        batch.add_metric([], *_buckets(ROWS, totals.get(("batch", ""), ([0] * (len(ROWS) + 1), 0.0))))
        yield batch


def fleet_metrics(
    prefix: str, *, sessions: int, slots: int, serving: int, overloaded: int, restarts: int
) -> Iterator[Metric]:
    """Yield what the server itself knows of its workers."""
    gauge = GaugeMetricFamily
    yield gauge(f"{prefix}engine_slots_in_use", "Slots of workers that a session has.", value=sessions)
    yield gauge(f"{prefix}engine_slots", "Slots of the workers that serve.", value=slots)
    yield gauge(f"{prefix}workers", "Workers that serve.", value=serving)
    yield gauge(f"{prefix}workers_overloaded", "Workers whose chunks wait longer than a chunk.", value=overloaded)
    yield CounterMetricFamily(f"{prefix}worker_restarts", "Workers started for one that died.", value=restarts)


def _read(report: dict[str, Any]) -> dict[tuple[str, str], Counts]:
    """A worker's report (``worker.load.Load.report``) by histogram and chunk."""
    found: dict[tuple[str, str], Counts] = {}
    for name in ("chunk_wait", "step"):
        for chunk, (counts, total) in report.get(name, {}).items():
            found[name, chunk] = (counts, total)
    if "batch" in report:
        counts, total = report["batch"]
        found["batch", ""] = (counts, total)
    return found


def _sum(parts: list[dict[tuple[str, str], Counts]]) -> dict[tuple[str, str], Counts]:
    found: dict[tuple[str, str], Counts] = {}
    for part in parts:
        for key, (counts, total) in part.items():
            before, before_total = found.get(key, ([0] * len(counts), 0.0))
            found[key] = ([a + b for a, b in zip(before, counts, strict=True)], before_total + total)
    return found


def _buckets(bounds: tuple[float, ...], counts: Counts) -> tuple[list[tuple[str, float]], float]:
    """Prometheus' cumulative buckets, and the sum."""
    cumulative, buckets = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts[0], strict=True):
        cumulative += count
        buckets.append((bound, float(cumulative)))
    return buckets, counts[1]
