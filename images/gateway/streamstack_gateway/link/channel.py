"""gRPC channels to ASR servers and to the balancer."""

from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

MESSAGE_LIMIT_BYTES: Final = 4 << 20
"""gRPC's default, well above ``MAX_MESSAGE_BYTES`` and its framing; set so that it cannot drift."""

KEEPALIVE_MS: Final = 10_000
KEEPALIVE_TIMEOUT_MS: Final = 5_000
"""Heartbeats end a frozen link long before; this ends a dead connection under it that other links would share."""

RECONNECT_MS: Final = 100
RECONNECT_MAX_MS: Final = 1_000
"""gRPC's own wait between connects; below ours, so that the link's back-off is the one that counts."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A server: ``address`` is ``ip:port`` (a balancer's ``host:port``), ``host`` the name in its certificate."""

    address: str
    host: str


@dataclass(frozen=True, slots=True)
class Transport:
    """How to connect: TLS or not, and against which root certificates (PEM; None is gRPC's default set)."""

    secure: bool = False
    root_certificates: bytes | None = None

    def open(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """Make a channel; it connects when the first link asks."""
        options: list[tuple[str, int | str]] = [
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
            # A new channel must mean a new connection: the one of a frozen link may be dead without knowing it.
            ("grpc.use_local_subchannel_pool", 1),
            # Sessions never leave the cluster through somebody's proxy variable.
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ]
        if not self.secure:
            return grpc.aio.insecure_channel(endpoint.address, options=options)
        options.append(("grpc.ssl_target_name_override", endpoint.host))
        credentials = grpc.ssl_channel_credentials(root_certificates=self.root_certificates)
        return grpc.aio.secure_channel(endpoint.address, credentials, options=options)
