"""Why an attempt or a whole link ended; the values are metric labels and what ``Listener.lost`` hears."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import grpc

from streamstack_common.contracts import asr_pb2


class Loss(StrEnum):
    """Reasons, first those of a link (all of its sessions), then those of one session's attempt."""

    FROZEN = "link_frozen"
    CONNECT_TIMEOUT = "link_connect_timeout"
    ENDED = "link_ended"
    UNAVAILABLE = "link_unavailable"
    UNAUTHENTICATED = "link_unauthenticated"
    RPC_FAILED = "link_rpc_failed"
    BACKLOG = "link_backlog"
    PROTOCOL = "link_protocol"
    STOPPED = "link_stopped"
    BUG = "link_bug"

    SESSION_BACKLOG = "session_backlog"
    SESSION_PROTOCOL = "session_protocol"
    LISTENER_FAILED = "listener_failed"
    CLOSED = "closed_by_server"
    CLOSED_INVALID = "closed_invalid"
    CLOSED_ENGINE_FAILED = "closed_engine_failed"
    CLOSED_BACKLOG = "closed_backlog"
    CLOSED_STOPPING = "closed_stopping"


_BY_STATUS: Final[Mapping[grpc.StatusCode, Loss]] = {
    grpc.StatusCode.UNAVAILABLE: Loss.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: Loss.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Loss.UNAUTHENTICATED,
}

_BY_CLOSED: Final[Mapping[int, Loss]] = {
    asr_pb2.Closed.INVALID: Loss.CLOSED_INVALID,
    asr_pb2.Closed.ENGINE_FAILED: Loss.CLOSED_ENGINE_FAILED,
    asr_pb2.Closed.BACKLOG: Loss.CLOSED_BACKLOG,
    asr_pb2.Closed.STOPPING: Loss.CLOSED_STOPPING,
}


def of_status(code: grpc.StatusCode) -> Loss:
    """Reason for a stream that ended with a gRPC error."""
    return _BY_STATUS.get(code, Loss.RPC_FAILED)


def of_closed(reason: int) -> Loss:
    """Reason for a ``Closed`` nobody asked for; a newer server's unknown reason is plain ``CLOSED``."""
    return _BY_CLOSED.get(reason, Loss.CLOSED)
