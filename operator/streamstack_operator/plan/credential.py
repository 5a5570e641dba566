"""The next step of the credential's life (DESIGN 4, "Credential"): made, and rotated so that both tokens overlap.

A file holds the old token; then old and new, once everybody accepts the new one new and old, at last the new one. Pods
may be one stage apart at any moment: whoever sends a token then sends one that the other accepts. Further apart they
never are: SWITCH waits until every pod says that it knows the new token, and SETTLE until every kubelet had its time.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from streamstack_operator.facts import CredentialFacts, CredentialStage, CredentialStep, PodFacts
from streamstack_operator.names import Component

PROPAGATION_SECONDS: Final = 180.0
"""How long a changed Secret takes at most to be seen by a pod that runs: a kubelet syncs a pod every 60 s with up to
half as much jitter (kubernetes pkg/kubelet/pod_workers.go, ``workerResyncIntervalJitterFactor``), reads Secrets through
a cache of up to 60 s (``configMapAndSecretChangeDetectionStrategy: Cache``), and our services look at the file every
second (``streamstack_common.credential.RELOAD_SECONDS``); the rest is margin."""

USERS: Final = frozenset({Component.GATEWAY, Component.ASR, Component.LICENSE})
"""Who sends or accepts it; the balancer passes on what gateways send."""


def step(
    facts: CredentialFacts | None,
    pods: Iterable[PodFacts],
    *,
    requested: str | None,
    rotate_after_seconds: float,
    now: datetime,
) -> CredentialStep | None:
    """Return what is to be done now, None for nothing. ``requested`` is the stack's rotate annotation."""
    if facts is None:
        return CredentialStep.MAKE
    age_seconds = now.timestamp() - facts.since_seconds
    match facts.stage:
        case CredentialStage.SETTLED:
            asked = requested is not None and requested != facts.requested
            return CredentialStep.ANNOUNCE if asked or age_seconds >= rotate_after_seconds else None
        case CredentialStage.ANNOUNCING:
            return CredentialStep.SWITCH if _all_accept(facts, pods) else None
        case CredentialStage.SWITCHING:
            return CredentialStep.SETTLE if age_seconds >= PROPAGATION_SECONDS else None


def _all_accept(facts: CredentialFacts, pods: Iterable[PodFacts]) -> bool:
    """Tell whether every pod that may be talked to accepts the new token; one that cannot be asked does not."""
    return all(pod.uid in facts.accepted_by for pod in pods if pod.component in USERS and pod.ip is not None)
