"""What ``/metrics`` tells; no label names a customer."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters of one process, and what the ledger says when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.checkins = Counter(
            "streamstack_authority_checkins",
            "Check-ins by verdict: good, revoked, wrong_key, foreign",
            ["verdict"],
            registry=self.registry,
        )
        self.records = Counter(
            "streamstack_authority_records",
            "Records of uploads and imports: accepted, duplicate, and of the accepted ones unreadable",
            ["result"],
            registry=self.registry,
        )
        self.refused = Counter(
            "streamstack_authority_uploads_refused",
            "Uploads and imports refused: gap, fork, foreign_journal, broken_chain, wrong_key, foreign, malformed",
            ["reason"],
            registry=self.registry,
        )
        self.open_sessions = Gauge(
            "streamstack_authority_sessions_open", "Sessions in the ledger without an end", registry=self.registry
        )
        self.orphans = Counter(
            "streamstack_authority_orphans_closed", "Sessions closed for want of an end", registry=self.registry
        )
        for verdict in ("good", "revoked", "wrong_key", "foreign"):
            self.checkins.labels(verdict)
        for result in ("accepted", "duplicate", "unreadable"):
            self.records.labels(result)
        for reason in ("gap", "fork", "foreign_journal", "broken_chain", "wrong_key", "foreign", "malformed"):
            self.refused.labels(reason)
