"""What placement and links tell Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streamstack_common.contracts import asr_pb2

_REFUSALS: Final = {
    asr_pb2.Refused.FULL: "full",
    asr_pb2.Refused.NOT_ACCEPTING: "not_accepting",
    asr_pb2.Refused.UNKNOWN_MODEL: "unknown_model",
    asr_pb2.Refused.INVALID: "invalid",
}


def refusal_name(message: asr_pb2.Refused) -> str:
    """``result`` label of a refusal; a newer server's unknown reason is plain ``refused``."""
    return _REFUSALS.get(message.reason, "refused")


class PlacementMetrics:
    """One set per gateway; ``pool`` labels come from the configuration, the others are closed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.links_up = Gauge(
            "streamstack_gateway_links_up", "Links to ASR servers that are up.", ["pool"], registry=registry
        )
        self.opens = Counter(
            "streamstack_gateway_opens",
            "Requests for a slot by how the server answered.",
            ["pool", "result"],
            registry=registry,
        )
        self.sessions_waiting = Gauge(
            "streamstack_gateway_sessions_waiting", "Sessions without a slot.", ["pool"], registry=registry
        )
        self.free_slots = Gauge(
            "streamstack_gateway_free_slots",
            "Free slots as last reported, less what this gateway is about to take; NaN when unknown.",
            ["pool"],
            registry=registry,
        )
        self.link_losses = Counter(
            "streamstack_gateway_link_losses",
            "Links that ended, or never came up, unasked.",
            ["pool", "reason"],
            registry=registry,
        )
        self.link_write_requests = Histogram(
            "streamstack_gateway_link_write_requests",
            "Session requests in one message to a server.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )
