"""What the gateway counts. Hot paths only bump plain integers; they are read when somebody scrapes."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.registry import Sessions

PREFIX = "streamstack_gateway"


class SessionCollector(Collector):
    """Sessions, refusals, audio and buffers, read from where they live."""

    def __init__(self, sessions: Sessions, budget: ByteBudget, connections: Callable[[], int]) -> None:
        self._sessions = sessions
        self._budget = budget
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        sessions, budget = self._sessions, self._budget
        yield GaugeMetricFamily(f"{PREFIX}_sessions", "live sessions", len(sessions))
        yield GaugeMetricFamily(f"{PREFIX}_connections", "open sockets", self._connections())
        yield GaugeMetricFamily(f"{PREFIX}_buffer_bytes", "audio held for replay and backlog", budget.used)
        yield GaugeMetricFamily(f"{PREFIX}_buffer_limit_bytes", "budget of all audio buffers", budget.limit)
        yield CounterMetricFamily(
            f"{PREFIX}_audio_seconds", "audio of ended sessions, by their own clock", sessions.audio_ms_total / 1000
        )
        ended = CounterMetricFamily(f"{PREFIX}_sessions_ended", "sessions that ended, by outcome", labels=["outcome"])
        for outcome, count in sessions.outcomes.items():
            ended.add_metric([outcome], count)
        yield ended
        refused = CounterMetricFamily(f"{PREFIX}_sessions_refused", "clients refused, by reason", labels=["reason"])
        for reason, count in sessions.refusals.items():
            refused.add_metric([reason], count)
        yield refused


def begin_histogram(registry: CollectorRegistry) -> Histogram:
    """Time from TCP connect to ``Begin``, seconds (invariant fast-begin: 50 ms)."""
    return Histogram(
        f"{PREFIX}_begin_seconds",
        "from TCP connect to Begin",
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
        registry=registry,
    )
