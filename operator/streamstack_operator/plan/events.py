"""Which changes are Events: what the status says now and did not say before, so that no pass repeats one."""

from collections.abc import Iterator
from typing import Final

from streamstack_operator.facts import CredentialStage, EventType, StackEvent
from streamstack_operator.model.status import (
    ComponentStatus,
    ConditionStatus,
    Phase,
    Revision,
    StackCondition,
    StreamingStackStatus,
)
from streamstack_operator.names import Condition, Reason
from streamstack_operator.plan.conditions import find
from streamstack_operator.plan.progress import components, sessions

REVISION_ACTIVE: Final = "RevisionActive"
REVISION_DRAINED: Final = "RevisionDrained"
REVISION_DEADLINE: Final = "RevisionDeadline"
REVISION_REPLACED: Final = "RevisionReplaced"
CREDENTIAL_MADE: Final = "CredentialMade"
CREDENTIAL_ROTATING: Final = "CredentialRotating"
CREDENTIAL_ROTATED: Final = "CredentialRotated"

ENDING_LICENSE: Final = frozenset({Reason.LICENSE_TRUST_BASED, Reason.LICENSE_EXPIRING_SOON})
"""The license holds, and will not for long."""

QUIET: Final = frozenset({Reason.STARTING, Reason.SETTLED, Reason.PREVIOUS_REVISIONS_DRAINING})
"""Reasons that say nothing a person has to act on."""

WARNED: Final = (
    Condition.ACCEPTED,
    Condition.LICENSE_VALID,
    Condition.GATEWAY_AVAILABLE,
    Condition.ASR_AVAILABLE,
    Condition.PROGRESSING,
)
"""Conditions that are warned of when they turn False, cause before consequence: a reason is told once."""


def events(
    previous: StreamingStackStatus, new: StreamingStackStatus, *, deleting: bool = False
) -> tuple[StackEvent, ...]:
    """Return what changed from one status to the next."""
    return (
        *_warnings(previous, new),
        *_turns(previous, new),
        *([] if deleting else _revisions(previous, new)),
        *_credential(previous, new),
    )


def _normal(reason: str, message: str) -> StackEvent:
    return StackEvent(EventType.NORMAL, reason, message)


def _warning(reason: str, message: str) -> StackEvent:
    return StackEvent(EventType.WARNING, reason, message)


def _changed(
    previous: StreamingStackStatus, new: StreamingStackStatus, kind: Condition
) -> tuple[StackCondition | None, StackCondition] | None:
    """Return a condition before and now, None where status and reason are the same."""
    before, now = find(previous.conditions, kind), find(new.conditions, kind)
    if now is None or (before is not None and (before.status, before.reason) == (now.status, now.reason)):
        return None
    return before, now


def _warnings(previous: StreamingStackStatus, new: StreamingStackStatus) -> Iterator[StackEvent]:
    told: set[str] = set()
    for kind in WARNED:
        changed = _changed(previous, new, kind)
        if changed is None or changed[1].status is not ConditionStatus.FALSE:
            continue
        now = changed[1]
        if now.reason not in QUIET and now.reason not in told:
            told.add(now.reason)
            yield _warning(now.reason, now.message)


def _turns(previous: StreamingStackStatus, new: StreamingStackStatus) -> Iterator[StackEvent]:
    """Yield what turned good, and what turned bad without being warned of."""
    ready = _changed(previous, new, Condition.READY)
    if ready is not None:
        before, now = ready
        was = before is not None and before.status is ConditionStatus.TRUE
        if now.status is ConditionStatus.TRUE and not was:
            yield _normal("Ready", now.message)
        elif now.status is not ConditionStatus.TRUE and (was or now.reason in {Reason.PAUSED, Reason.DELETING}):
            yield _warning("NotReady", f"{now.reason}: {now.message}")
    accepted = _changed(previous, new, Condition.ACCEPTED)
    if accepted is not None and accepted[0] is not None and accepted[1].status is ConditionStatus.TRUE:
        yield _normal(Reason.VALID, accepted[1].message)
    license_valid = _changed(previous, new, Condition.LICENSE_VALID)
    if license_valid is not None:
        yield from _license(*license_valid)
    backlog = _changed(previous, new, Condition.USAGE_BACKLOG)
    if backlog is not None:
        yield from _usage(*backlog)
    draining = _changed(previous, new, Condition.DRAINING)
    if draining is not None and draining[1].reason in {Reason.STACK_DRAINING, Reason.USAGE_UNREPORTED}:
        yield _normal(draining[1].reason, draining[1].message)


def _license(before: StackCondition | None, now: StackCondition) -> Iterator[StackEvent]:
    if now.status is ConditionStatus.TRUE:
        event = _warning if now.reason in ENDING_LICENSE else _normal
        yield event(f"License{now.reason}", now.message)
    elif now.status is ConditionStatus.UNKNOWN and before is not None and before.status is ConditionStatus.TRUE:
        yield _warning(now.reason, now.message)


def _usage(before: StackCondition | None, now: StackCondition) -> Iterator[StackEvent]:
    was = before is not None and before.status is ConditionStatus.TRUE
    if now.status is ConditionStatus.TRUE and not was:
        yield _warning(now.reason, now.message)
    elif now.status is ConditionStatus.FALSE and (was or now.reason == Reason.JOURNAL_EPHEMERAL):
        event = _warning if now.reason == Reason.JOURNAL_EPHEMERAL else _normal
        yield event(now.reason, now.message)


def _revisions(previous: StreamingStackStatus, new: StreamingStackStatus) -> Iterator[StackEvent]:
    before = dict(components(previous))
    for label, component in components(new):
        known = before.get(label, ComponentStatus())
        active = component.active_revision
        if active is not None and active != known.active_revision:
            yield _normal(REVISION_ACTIVE, f"new sessions go to revision {active} of {label}")
        phases = {revision.revision: revision.phase for revision in known.revisions}
        for revision in component.revisions:
            was = phases.get(revision.revision)
            if revision.phase is Phase.ENDING and was not in {None, Phase.ENDING}:
                yield _ended(label, revision)


def _ended(label: str, revision: Revision) -> StackEvent:
    what = f"revision {revision.revision} of {label}"
    if revision.idle_since is not None:
        return _normal(REVISION_DRAINED, f"{what} has no session left and is deleted")
    if revision.drain_deadline is None:
        return _normal(REVISION_REPLACED, f"{what} is deleted: another one was asked for before it took sessions")
    left = sessions(revision.sessions)
    return _warning(REVISION_DEADLINE, f"{what} is deleted at its deadline, {revision.drain_deadline}: {left}")


def _credential(previous: StreamingStackStatus, new: StreamingStackStatus) -> Iterator[StackEvent]:
    before, now = previous.credential, new.credential
    if now is None or (before is not None and before.stage == now.stage):
        return
    if before is None:
        if now.stage == CredentialStage.SETTLED:
            yield _normal(CREDENTIAL_MADE, "the stack has a credential for calls between its pods")
    elif now.stage == CredentialStage.ANNOUNCING:
        yield _normal(CREDENTIAL_ROTATING, "a new credential is announced; both are accepted")
    elif now.stage == CredentialStage.SETTLED:
        yield _normal(CREDENTIAL_ROTATED, "the new credential is the only one")
