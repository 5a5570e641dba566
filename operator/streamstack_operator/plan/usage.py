"""Usage that the authority does not have yet: how much there is, and which proxies have to stay for it.

A journal belongs to a pod by its ordinal: the StatefulSet takes the highest away first, and a claim comes back with its
number. A proxy that cannot be asked counts as one whose journal is full (DESIGN 3, unknown-is-busy).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamstack_common.usage import UsageBacklog
from streamstack_operator import names
from streamstack_operator.facts import ObjectKey, Observed, PodFacts, ProxyFacts, Stack
from streamstack_operator.model.status import LicenseReport as Told
from streamstack_operator.names import Condition, Reason
from streamstack_operator.plan import licensing
from streamstack_operator.plan.conditions import Finding, no, unknown, yes
from streamstack_operator.plan.scale import MADE_WITH

BACKLOG_RECORDS: Final = 1000
"""What a stack may owe before it is said (the seed warns of its queue above 1,000 items)."""
BACKLOG_SECONDS: Final = 600
"""Batches go every few seconds: whatever is older than this waits for something to be mended."""

OWED: Final = "usage that the license authority does not have yet"

USAGE: Final = "usage"
FLAT: Final = "flat"
"""What licenses call the two ways of billing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What there is of usage that the authority does not have.

    ``billing`` is what a proxy said last, None where none ever did. ``backlogs`` are journals by their pods' names,
    None where a proxy cannot be asked. ``ready`` are the names of pods that take usage. ``replicas`` is what the
    StatefulSet is scaled to, None where there is none. ``offline``: nothing is sent, a person carries it.
    """

    billing: str | None
    backlogs: Mapping[str, UsageBacklog | None]
    ready: frozenset[str]
    replicas: int | None
    offline: bool = False

    @property
    def unknown(self) -> list[str]:
        """Pods whose journals nobody can tell of; with flat billing a journal holds nothing."""
        return [] if self.billing == FLAT else [name for name, backlog in self.backlogs.items() if backlog is None]

    @property
    def records(self) -> int:
        """Records of all journals that are known."""
        return sum(backlog.records for backlog in self.backlogs.values() if backlog is not None)

    @property
    def oldest_seconds(self) -> float:
        """Age of the oldest record that is known, 0 without one."""
        known = [backlog.oldest_seconds for backlog in self.backlogs.values() if backlog is not None]
        return max((age for age in known if age is not None), default=0.0)

    def is_empty(self, pod: str) -> bool:
        """Tell whether a pod's journal certainly holds nothing that the authority lacks."""
        backlog = self.backlogs.get(pod)
        return self.billing == FLAT if backlog is None else backlog.records == 0


@dataclass(frozen=True, slots=True)
class Size:
    """How many proxies there are to be now, and why not as many as the spec asks for, None where it is as asked."""

    replicas: int
    waits: str | None = None


def usage(stack: Stack, observed: Observed) -> Usage:
    """Return what is known of usage."""
    found = licensing.pods(observed)
    manifest = observed.objects.get(ObjectKey("apps/v1", "StatefulSet", names.license_proxy(stack.name)))
    replicas = None if manifest is None else int((manifest.get("spec") or {}).get("replicas", MADE_WITH))
    wanted = [names.license_proxy_pod(stack.name, ordinal) for ordinal in range(replicas or 0)]
    backlogs: dict[str, UsageBacklog | None] = dict.fromkeys(wanted)
    backlogs |= {pod.name: _facts(observed, pod).backlog for pod in found}
    said = [report for pod in found if (report := _facts(observed, pod).license) is not None]
    billings = {report.billing for report in said if report.billing is not None}
    # While a license is being replaced proxies may differ: where one reports usage, there is usage.
    billing = USAGE if USAGE in billings else next(iter(billings), stack.status.license.billing)
    ready = frozenset(pod.name for pod in found if pod.ready and not pod.terminating)
    offline = any(report.offline for report in said)
    return Usage(billing, backlogs, ready, replicas, offline=offline)


def told(report: Told, found: Usage) -> Told:
    """Return the license's part of the status with the backlog in it."""
    if found.unknown or not found.backlogs:
        return report
    minutes = int(found.oldest_seconds // 60)
    return report.model_copy(update={"backlog_records": found.records, "backlog_oldest_seconds": 60 * minutes})


def backlog(stack: Stack, found: Usage, report: Told) -> Finding:
    """Return UsageBacklog: whether usage waits that should long be with the authority. Ready does not depend on it.

    ``report`` has the numbers as they are written, which change less often than what is known.
    """
    kind, large = Condition.USAGE_BACKLOG, found.records > BACKLOG_RECORDS
    if not found.offline and (large or found.oldest_seconds > BACKLOG_SECONDS):
        return yes(kind, Reason.BACKLOG_LARGE if large else Reason.BACKLOG_OLD, _waits(stack, found, report))
    if found.unknown:
        return unknown(kind, Reason.USAGE_UNKNOWN, f"unknown are the journals of {_listed(found.unknown)}")
    if not found.backlogs:
        return unknown(kind, Reason.USAGE_UNKNOWN, "there is no license proxy yet")
    reason, message = _as_it_should_be(stack, found)
    return no(kind, reason, message)


def _as_it_should_be(stack: Stack, found: Usage) -> tuple[Reason, str]:
    if found.billing == FLAT:
        return Reason.NOT_BILLED, "the license is not billed by usage: nothing is reported"
    lost = "; with spec.license.ephemeral what is not there yet is lost with a proxy's pod or node"
    risk = lost if stack.spec.license.ephemeral else ""
    if found.offline:
        return Reason.CARRIED_BY_HAND, f"the license is offline: streamstack usage export carries usage away{risk}"
    reason = Reason.JOURNAL_EPHEMERAL if risk else Reason.USAGE_REPORTED
    return reason, f"usage is with the license authority or on its way{risk}"


def size(stack: Stack, found: Usage) -> Size:
    """Return how many proxies there are to be: fewer only when those that go have an empty journal."""
    wanted, replicas = stack.spec.license.replicas, found.replicas
    if replicas is None or replicas <= wanted:
        return Size(wanted)
    staying = {names.license_proxy_pod(stack.name, ordinal) for ordinal in range(wanted)}
    if not staying & found.ready:
        return Size(replicas, f"{_fewer(stack, replicas)}: none of those that stay is ready to take usage")
    left = replicas
    while left > wanted and found.is_empty(names.license_proxy_pod(stack.name, left - 1)):
        left -= 1
    if left == wanted:
        return Size(wanted)
    pod = names.license_proxy_pod(stack.name, left - 1)
    held = found.backlogs.get(pod)
    why = "cannot be asked for its journal" if held is None else f"has {_owed(found)}"
    lost = ", and lose that" if stack.spec.license.ephemeral else ""
    override = (
        f"kubectl --namespace {stack.namespace} scale statefulset {names.license_proxy(stack.name)} --replicas={wanted}"
    )
    return Size(left, f"{_fewer(stack, left)}: {pod} {why}; to go without it{lost}: {override}")


def unreported(found: Usage) -> str | None:
    """Return what a deleted stack waits for, None when everything is with the authority or nothing is billed."""
    if found.records:
        return _owed(found)
    if found.billing == USAGE and found.unknown:
        return f"usage unknown, since {_listed(found.unknown)} cannot be asked"
    return None


def _facts(observed: Observed, pod: PodFacts) -> ProxyFacts:
    return observed.proxies.get(pod.uid, ProxyFacts())


def _owed(found: Usage) -> str:
    return f"{OWED}: streamstack usage export carries it there" if found.offline else OWED


def _fewer(stack: Stack, replicas: int) -> str:
    return f"license proxies: {stack.spec.license.replicas} are wanted and {replicas} stay for now"


def _waits(stack: Stack, found: Usage, report: Told) -> str:
    """What waits, and what to do. Numbers are the written ones."""
    if report.backlog_records is None:
        much = f"how much is not known, since {_listed(found.unknown)} cannot be asked"
    else:
        minutes = (report.backlog_oldest_seconds or 0) // 60
        much = f"{report.backlog_records} records, the oldest for {minutes} minutes"
    ephemeral = stack.spec.license.ephemeral
    kept = "it is lost with a proxy's pod (ephemeral)" if ephemeral else "nothing is lost while journals have room"
    return (
        f"usage waits for the license authority: {much}; {kept}: see why the proxies do not reach it "
        f"(kubectl --namespace {stack.namespace} logs statefulset/{names.license_proxy(stack.name)}), or carry it "
        "there: streamstack usage export"
    )


def _listed(pods: list[str]) -> str:
    return ", ".join(pods)
