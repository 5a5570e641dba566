"""Prometheus metrics of one server and its engine, made from plain counts when they are scraped."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.server.slots import Slots
from streamstack_asr.server.totals import Totals
from streamstack_common.contracts.rpc import SAMPLE_RATE

PREFIX: Final = "streamstack_asr_"


class ServerMetrics(Collector):
    """Reads ``Slots``, ``Totals`` and what the engine counts."""

    def __init__(self, slots: Slots, totals: Totals, engine: AsrEngine) -> None:
        self._engine = engine
        self._slots = slots
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Every metric with its present value."""
        slots, totals = self._slots, self._totals
        sessions = GaugeMetricFamily(f"{PREFIX}sessions", "Slots taken, by model.", labels=["model"])
        refused = CounterMetricFamily(f"{PREFIX}refused_full", "Opens refused for want of a slot.", labels=["model"])
        for model, pool in slots.pools.items():
            sessions.add_metric([model], pool.in_use)
            refused.add_metric([model], pool.refused_total)
        yield sessions
        yield refused
        yield GaugeMetricFamily(f"{PREFIX}slots", "Sessions this server serves at once.", value=slots.total)
        yield GaugeMetricFamily(f"{PREFIX}accepting", "1 while new sessions are taken.", value=int(slots.accepting))
        yield GaugeMetricFamily(f"{PREFIX}links", "Open links.", value=totals.links)
        seconds = totals.audio_samples / SAMPLE_RATE
        yield CounterMetricFamily(f"{PREFIX}audio_seconds", "Audio of sessions, replays included.", value=seconds)
        seconds = totals.transcribed_samples / SAMPLE_RATE
        yield CounterMetricFamily(f"{PREFIX}transcribed_seconds", "Audio of whole recordings.", value=seconds)
        yield CounterMetricFamily(f"{PREFIX}hypotheses", "Replies to steps.", value=totals.hypotheses)
        yield CounterMetricFamily(f"{PREFIX}finals", "Turns completed.", value=totals.finals)
        yield _counts("opens", "Opens, by result.", "result", totals.opens.items())
        yield _counts("closed", "Sessions ended, by reason.", "reason", totals.closed.items())
        yield _counts("links_ended", "Links ended, by reason.", "reason", totals.links_ended.items())
        yield _counts("transcribe", "Whole recordings, by status.", "status", totals.transcribes.items())
        yield from self._engine.metrics(PREFIX)


def registry(slots: Slots, totals: Totals, engine: AsrEngine) -> CollectorRegistry:
    """Make the registry of one server, with the process's own metrics."""
    made = CollectorRegistry()
    made.register(ServerMetrics(slots, totals, engine))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


def _counts(name: str, documentation: str, label: str, values: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", documentation, labels=[label])
    for value, count in values:
        family.add_metric([value.lower()], count)
    return family
