"""What the operator tells Prometheus; most of it is read where it lives when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from streamstack_operator.queue import Outcome

PREFIX = "streamstack_operator"


class PassMetrics:
    """Passes over stacks, by outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            f"{PREFIX}_reconcile_seconds",
            "how long a pass over a stack takes",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._ended = CounterMetric(
            f"{PREFIX}_reconciles",
            "passes over stacks: done, failed (the API server did not do what was asked) or broken (a defect)",
            ["outcome"],
            registry=registry,
        )
        for outcome in Outcome:
            self._ended.labels(outcome)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Count a pass."""
        self._seconds.observe(seconds)
        self._ended.labels(outcome).inc()


class RequestCollector(Collector):
    """Requests to the API server, but for watches, which are kopf's."""

    def __init__(self, requests: Counter[tuple[str, str]]) -> None:
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        asked = CounterMetricFamily(
            f"{PREFIX}_api_requests", "requests to the API server, watches aside", labels=["verb", "resource"]
        )
        for (verb, resource), count in self._requests.items():
            asked.add_metric([verb, resource], count)
        yield asked


def make_registry(requests: Counter[tuple[str, str]]) -> CollectorRegistry:
    """Return a registry with the process's own figures and the requests."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(RequestCollector(requests))
    return registry


def gauge(registry: CollectorRegistry, name: str, about: str, value: Callable[[], float]) -> None:
    """Add a figure that is read when somebody asks."""
    Gauge(f"{PREFIX}_{name}", about, registry=registry).set_function(value)
