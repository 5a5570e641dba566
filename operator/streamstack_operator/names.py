"""Names that cluster and operator agree on: group, labels, annotations, conditions, reasons, children (DESIGN 4, 8)."""

from enum import StrEnum
from typing import Final

GROUP: Final = "streamstack.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "StreamingStack"
PLURAL: Final = "streamingstacks"
SHORT_NAME: Final = "sst"
PRODUCT: Final = "streamstack"

# Field managers of server-side apply (KEP-555): one for children, one for status.
CHILD_MANAGER: Final = "streamstack-operator"
STATUS_MANAGER: Final = "streamstack-operator-status"

# Recommended labels of Kubernetes, and ours.
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "streamstack-operator"
LABEL_POOL: Final = f"{GROUP}/pool"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_TRAFFIC: Final = "traffic"
"""In Services' selectors, never in a Deployment's: taking a pod out of traffic leaves it where it is (DESIGN 4)."""
TRAFFIC_ON: Final = "on"
TRAFFIC_OFF: Final = "off"

# What a person may write on a StreamingStack.
ANNOTATION_RECONCILE: Final = f"{GROUP}/reconcile"
RECONCILE_DISABLED: Final = "disabled"
ANNOTATION_RENDER: Final = f"{GROUP}/render"
"""A new value asks for templates as this operator renders them, though the spec did not change."""
ANNOTATION_ROTATE: Final = f"{GROUP}/rotate-credential"
"""A new value asks for a new credential before the old one is due."""

# What the operator writes on children.
ANNOTATION_CREDENTIAL: Final = f"{GROUP}/credential"
"""On the credential's Secret: how far a rotation is, as JSON (``plan.credential``)."""
ANNOTATION_CONFIG_HASH: Final = f"{GROUP}/config-hash"
FINALIZER: Final = f"{GROUP}/drain"

REVISION_LENGTH: Final = 8
STACK_NAME_MAX: Final = 30
POOL_NAME_MAX: Final = 16
"""``<stack>-asr-<pool>-<revision>`` has to be a label's value: 63 characters."""

# Ports of pods (images/*/Dockerfile).
GATEWAY_PORT: Final = 8080
INTERNAL_PORT: Final = 8090
ASR_PORT: Final = 50051
LICENSE_PORT: Final = 8080
BALANCER_HEALTH_PORT: Final = 8081


class Component(StrEnum):
    """Value of ``app.kubernetes.io/component``."""

    GATEWAY = "gateway"
    ASR = "asr"
    LICENSE = "license-proxy"
    BALANCER = "asr-lb"
    CREDENTIAL = "credential"
    INGRESS = "ingress"


class Condition(StrEnum):
    """Types of ``status.conditions``; Ready comes first and sums up."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    PROGRESSING = "Progressing"
    GATEWAY_AVAILABLE = "GatewayAvailable"
    ASR_AVAILABLE = "ASRAvailable"
    LICENSE_VALID = "LicenseValid"
    USAGE_BACKLOG = "UsageBacklog"
    DRAINING = "Draining"


class Reason(StrEnum):
    """Reasons of conditions and Events: what a person searches the documentation for."""

    # Ready
    RUNNING = "Running"
    PAUSED = "Paused"
    DELETING = "Deleting"
    NOT_ACCEPTED = "NotAccepted"
    # Accepted
    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    CRD_OUTDATED = "CRDOutdated"
    NAME_CLASH = "NameClash"
    FORBIDDEN = "Forbidden"
    REFUSED = "Refused"
    # Pods
    AVAILABLE = "Available"
    STARTING = "Starting"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CRASHING = "Crashing"
    VOLUME_MISSING = "VolumeMissing"
    QUOTA = "QuotaExceeded"
    # License
    LICENSE_SECRET_MISSING = "LicenseSecretMissing"  # noqa: S105 - a reason
    LICENSE_UNKNOWN = "LicenseUnknown"
    LICENSE_FAILED = "LicenseFailed"
    LICENSE_READY = "Ready"
    LICENSE_CONNECTED = "Connected"
    LICENSE_OFFLINE = "Offline"
    LICENSE_TRUST_BASED = "TrustBased"
    LICENSE_EXPIRING_SOON = "ExpiringSoon"
    # Usage
    USAGE_REPORTED = "UsageReported"
    NOT_BILLED = "NotBilled"
    CARRIED_BY_HAND = "CarriedByHand"
    JOURNAL_EPHEMERAL = "JournalEphemeral"
    BACKLOG_LARGE = "BacklogLarge"
    BACKLOG_OLD = "BacklogOld"
    USAGE_UNKNOWN = "UsageUnknown"
    USAGE_UNREPORTED = "UsageUnreported"
    # Progress and drains
    SETTLED = "Settled"
    APPLYING = "Applying"
    WARMING = "Warming"
    PREVIOUS_REVISIONS_DRAINING = "PreviousRevisionsDraining"
    NOTHING_DRAINS = "NothingDrains"
    REVISIONS_DRAINING = "RevisionsDraining"
    STACK_DRAINING = "StackDraining"


def gateway(stack: str, revision: str | None = None) -> str:
    """Return the Service's name, or a revision's Deployment's."""
    return f"{stack}-gateway" if revision is None else f"{stack}-gateway-{revision}"


def gateway_peers(stack: str) -> str:
    """Return the name of the headless Service by which gateways find how many of them take new sessions."""
    return f"{stack}-gateway-peers"


def pool(stack: str, name: str, revision: str | None = None) -> str:
    """Return the Service's name of a pool, or a revision's Deployment's."""
    return f"{stack}-asr-{name}" if revision is None else f"{stack}-asr-{name}-{revision}"


def archive(stack: str, pool_name: str) -> str:
    """Return the name of the NetworkPolicy that lets a pool's pods out to fetch their model."""
    return f"{pool(stack, pool_name)}-archive"


def license_proxy(stack: str) -> str:
    """Return the name of StatefulSet and Service of the license proxy."""
    return f"{stack}-license-proxy"


def license_proxy_pod(stack: str, ordinal: int) -> str:
    """Return the name of one of its pods, and of the host that it thinks it is."""
    return f"{license_proxy(stack)}-{ordinal}"


def balancer(stack: str) -> str:
    """Return the name of the balancer's Deployment, Service and ConfigMap."""
    return f"{stack}-asr-lb"


def credential(stack: str) -> str:
    """Return the name of the Secret with the stack's bearer tokens."""
    return f"{stack}-credential"
