"""What reporting usage tells Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from streamstack_gateway.usage.tally import Tally


class UsageMetrics:
    """Gauges are read from the tally when somebody scrapes; ``clock`` is the one the tally is told."""

    def __init__(self, registry: CollectorRegistry, tally: Tally, clock: Callable[[], float]) -> None:
        Gauge(
            "streamstack_gateway_usage_unsent_reports",
            "sessions with a report that no license proxy has acknowledged",
            registry=registry,
        ).set_function(lambda: float(tally.unsent))
        Gauge(
            "streamstack_gateway_usage_oldest_unsent_seconds",
            "how long the oldest of them waits",
            registry=registry,
        ).set_function(lambda: tally.oldest_seconds(clock()))
        Gauge(
            "streamstack_gateway_usage_spooled_reports",
            "reports that the spool holds on the disk",
            registry=registry,
        ).set_function(lambda: float(tally.spooled))
        reports = Counter(
            "streamstack_gateway_usage_reports",
            "reports sent, by what became of them; failed ones are sent again",
            ["result"],
            registry=registry,
        )
        self.acknowledged = reports.labels("acknowledged")
        self.rejected = reports.labels("rejected")
        self.failed = reports.labels("failed")
