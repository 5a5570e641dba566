"""The status's numbers: put together from what was found, and kept still where they hardly change."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from streamstack_operator.facts import CredentialFacts, Observed, Release, Stack
from streamstack_operator.model.status import (
    ComponentStatus,
    CredentialStatus,
    LicenseReport,
    PoolStatus,
    Revision,
    StreamingStackStatus,
)
from streamstack_operator.names import Component
from streamstack_operator.plan import moments
from streamstack_operator.plan.availability import Availability, availability, of_revision
from streamstack_operator.plan.revisions import Rollout
from streamstack_operator.plan.usage import BACKLOG_RECORDS
from streamstack_operator.plan.workloads import Existing

SMALL_CHANGE: Final = 0.1
"""Share of the number last written within which another one is not written: a busy stack's sessions come and go with
every pass, and every write is a request. Zero and unknown are told at once. What is decided is decided by the numbers
themselves, never by those in the status."""

CHECKIN_SECONDS: Final = 300.0
"""How far a license's times have to move to be written anew while its state stays; they move with every check-in."""

FEW_RECORDS: Final = 100
"""Up to here one backlog is like another: batches go every few seconds, and these are on their way."""

Status = TypeVar("Status", bound=ComponentStatus)


def component(existing: Existing, rollout: Rollout, *, wanted: int, capacity: int) -> ComponentStatus:
    """Return what is told of gateways or of a pool; ``capacity`` is what a pod without a report is meant to carry."""
    found = of_revision(existing.label, existing.pods, rollout.active, wanted=wanted)
    counts = [revision.sessions for revision in rollout.revisions]
    known = [count for count in counts if count is not None]
    ready = [pod for pod in existing.of(rollout.active or "") if pod.ready and not pod.terminating]
    reports = [existing.reports.get(pod.uid) for pod in ready]
    return ComponentStatus(
        active_revision=rollout.active,
        ready=found.text,
        sessions=sum(known) if len(known) == len(counts) else None,
        capacity=sum(capacity if report is None else report.capacity for report in reports),
        revisions=list(rollout.revisions),
    )


def pool(name: str, model: str, status: ComponentStatus) -> PoolStatus:
    """Return a pool's part of the status."""
    fields = {field: getattr(status, field) for field in ComponentStatus.model_fields}
    return PoolStatus(name=name, model=model, **fields)


def credential(facts: CredentialFacts | None) -> CredentialStatus | None:
    """Return where the credential is in its life."""
    if facts is None:
        return None
    return CredentialStatus(
        stage=facts.stage, since=moments.from_seconds(facts.since_seconds), requested=facts.requested
    )


def balancer(stack: Stack, observed: Observed) -> Availability:
    """Return how available the balancer is."""
    pods = [pod for pod in observed.pods if pod.component is Component.BALANCER]
    return availability(
        "balancer", pods, wanted=stack.spec.nginx.replicas, failures=observed.failures, about=f"{stack.name}-asr-lb"
    )


def sum_of(found: Iterable[ComponentStatus]) -> str:
    """Return pods ready and wanted of several components together."""
    pairs = [tuple(map(int, each.ready.split("/"))) for each in found]
    return f"{sum(ready for ready, _ in pairs)}/{sum(wanted for _, wanted in pairs)}"


def numbers(
    stack: Stack,
    release: Release,
    *,
    gateway: ComponentStatus,
    pools: Sequence[PoolStatus],
    rest: Mapping[str, object],
) -> StreamingStackStatus:
    """Return a status that lacks its conditions and summary; ``rest`` are further fields by name."""
    wanted = {each.name for each in stack.spec.pools}
    return stack.status.model_copy(
        update={
            "observed_generation": stack.generation,
            "gateway": gateway,
            "pools": list(pools),
            "asr_ready": sum_of(each for each in pools if each.name in wanted),
            "version": release.version,
            **rest,
        }
    )


def settled(previous: StreamingStackStatus, new: StreamingStackStatus) -> StreamingStackStatus:
    """Return the new status with numbers last written where they hardly changed (``SMALL_CHANGE``)."""
    before = {pool.name: pool for pool in previous.pools}
    pools = [_settled(before.get(pool.name), pool) for pool in new.pools]
    gateway, license_ = _settled(previous.gateway, new.gateway), _license(previous.license, new.license)
    return new.model_copy(update={"gateway": gateway, "pools": pools, "license": license_})


def _license(previous: LicenseReport, new: LicenseReport) -> LicenseReport:
    """Every check-in moves its times and every batch its backlog: they are told when they say something new."""
    kept: dict[str, object] = {"backlog_records": _records(previous.backlog_records, new.backlog_records)}
    kept["backlog_oldest_seconds"] = _kept(previous.backlog_oldest_seconds, new.backlog_oldest_seconds)
    if previous.state == new.state and _moved_seconds(previous, new) < CHECKIN_SECONDS:
        kept["last_successful_checkin"] = previous.last_successful_checkin
        kept["trust_expiration"] = previous.trust_expiration
    return new.model_copy(update=kept)


def _records(previous: int | None, new: int | None) -> int | None:
    if not previous or not new:
        return new
    if max(previous, new) <= FEW_RECORDS:
        return previous
    return new if (previous > BACKLOG_RECORDS) != (new > BACKLOG_RECORDS) else _kept(previous, new)


def _moved_seconds(previous: LicenseReport, new: LicenseReport) -> float:
    """How much later the times of a license are than those last written: of both, whichever moved more."""
    moved = []
    for name in ("last_successful_checkin", "trust_expiration"):
        before, now = moments.read(getattr(previous, name)), moments.read(getattr(new, name))
        if before is not None and now is not None:
            moved.append(abs((now - before).total_seconds()))
        elif before is not now:
            return math.inf
    return max(moved, default=0.0)


def _settled(previous: ComponentStatus | None, new: Status) -> Status:
    if previous is None:
        return new
    before = {revision.revision: revision for revision in previous.revisions}
    revisions = [_still(before.get(revision.revision), revision) for revision in new.revisions]
    return new.model_copy(update={"sessions": _kept(previous.sessions, new.sessions), "revisions": revisions})


def _still(previous: Revision | None, new: Revision) -> Revision:
    return new if previous is None else new.model_copy(update={"sessions": _kept(previous.sessions, new.sessions)})


def _kept(previous: int | None, new: int | None) -> int | None:
    if not previous or not new:
        return new
    return previous if abs(new - previous) < SMALL_CHANGE * previous else new
