"""A journal's numbers, read when they are scraped."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamstack_license_proxy.journal.errors import JournalFullError
from streamstack_license_proxy.journal.usage_journal import UsageJournal


def register_metrics(registry: CollectorRegistry, journal: UsageJournal) -> None:
    """Expose a journal's numbers; those of what waits are missing while a full disk keeps it from being opened."""
    registry.register(_JournalCollector(journal))


class _JournalCollector(Collector):
    def __init__(self, journal: UsageJournal) -> None:
        self._journal = journal

    def collect(self) -> Iterable[Metric]:
        """Give the numbers of now."""
        counts = self._journal.counts
        yield CounterMetricFamily(
            "streamstack_usage_records", "Records that the usage journal made of reports", counts.records
        )
        yield CounterMetricFamily(
            "streamstack_usage_journal_damaged",
            "Usage journals set aside: damaged, or put back from a copy",
            counts.damaged,
        )
        yield GaugeMetricFamily(
            "streamstack_usage_disk_full", "1 while the usage journal finds no space", float(self._journal.full)
        )
        yield GaugeMetricFamily(
            "streamstack_usage_journal_bytes", "Size of the usage journal's files", self._journal.bytes_on_disk()
        )
        try:
            backlog = self._journal.backlog()
        except JournalFullError:
            return
        yield GaugeMetricFamily(
            "streamstack_usage_backlog_records", "Usage records that the authority does not have", backlog.records
        )
        yield GaugeMetricFamily(
            "streamstack_usage_backlog_oldest_seconds",
            "Age of the oldest of them; 0 where there are none",
            backlog.oldest_seconds or 0.0,
        )
