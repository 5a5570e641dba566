"""The Kubernetes API server, the one package that knows its client.

The dynamic and generated clients changed their signatures between minors (kubernetes-client/python#2631), and
discovery fails with any broken aggregated API. So the client gives credentials, TLS and HTTP alone
(:mod:`.transport`), paths come from a table (:mod:`.kinds`), and everything the operator asks of the API server is a
method of :class:`Kube`.
"""

from streamstack_operator.kube.api import OLDEST_MINOR, Kube, Snapshot, connect
from streamstack_operator.kube.errors import (
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    KindMissingError,
    KubeConfigError,
    KubeError,
    NotFoundError,
    QuotaError,
)
from streamstack_operator.kube.transport import Access

__all__ = [
    "OLDEST_MINOR",
    "Access",
    "ApiUnavailableError",
    "ConflictError",
    "ForbiddenError",
    "InvalidError",
    "KindMissingError",
    "Kube",
    "KubeConfigError",
    "KubeError",
    "NotFoundError",
    "QuotaError",
    "Snapshot",
    "connect",
]
