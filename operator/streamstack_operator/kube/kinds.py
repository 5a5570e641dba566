"""The kinds the operator speaks of, and their paths: a table instead of discovery.

Discovery asks for every group, and one aggregated API that does not answer spoils it; none of these kinds can move.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from streamstack_operator.names import API_VERSION, KIND, PLURAL


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind of object, and the word for it in paths and in RBAC."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, *, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, of its subresource, or of all in a namespace or in the cluster."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        place = "" if namespace is None else f"/namespaces/{quote(namespace, safe='')}"
        rest = "".join(f"/{quote(part, safe='')}" for part in (name, subresource) if part is not None)
        return f"{root}{place}/{self.plural}{rest}"


STACK: Final = Kind(API_VERSION, KIND, PLURAL)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SET: Final = Kind("apps/v1", "StatefulSet", "statefulsets")
POD: Final = Kind("v1", "Pod", "pods")
SERVICE: Final = Kind("v1", "Service", "services")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
SECRET: Final = Kind("v1", "Secret", "secrets")
EVENT: Final = Kind("v1", "Event", "events")
BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
INGRESS: Final = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")

_TABLE: Final[Mapping[tuple[str, str], Kind]] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        STACK,
        DEPLOYMENT,
        STATEFUL_SET,
        POD,
        SERVICE,
        CONFIG_MAP,
        SERVICE_ACCOUNT,
        SECRET,
        EVENT,
        BUDGET,
        NETWORK_POLICY,
        INGRESS,
        HTTP_ROUTE,
        LEASE,
    )
}


def find(api_version: str, kind: str) -> Kind:
    """Return a kind of the table. Raises ValueError for one that the operator does not speak of."""
    try:
        return _TABLE[api_version, kind]
    except KeyError:
        raise ValueError(f"{kind} {api_version} is not in the table of kinds (kube/kinds.py)") from None
