"""What is under way, what waits for what, and what drains until when: Progressing and Draining."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamstack_operator.facts import ObjectKey, Problem
from streamstack_operator.model.status import ComponentStatus, Phase, Revision, StreamingStackStatus
from streamstack_operator.names import Condition, Reason
from streamstack_operator.plan.availability import Availability
from streamstack_operator.plan.conditions import Finding, no, yes


@dataclass(frozen=True, slots=True)
class Facts:
    """What progress is judged by.

    ``missing`` are children that are wanted and not there; ``warming`` tells of each component how far the revision is
    that is to take over, or the active one; ``waiting`` names components whose new revision has to wait;
    ``unreported`` says why there are more license proxies than are asked for, None where there are not.
    """

    failures: Sequence[Problem]
    missing: Sequence[ObjectKey]
    warming: Sequence[Availability]
    waiting: Sequence[str]
    unreported: str | None = None


def progressing(facts: Facts, status: StreamingStackStatus) -> Finding:
    """Return Progressing: True while something moves; False when all is as wanted, or does not get there."""
    return next(_obstacles(facts, status), None) or next(_moves(facts), None) or _rests(status)


def _obstacles(facts: Facts, status: StreamingStackStatus) -> Iterator[Finding]:
    if facts.failures:
        yield no(Condition.PROGRESSING, facts.failures[0].reason, told(facts.failures))
    stuck = [each for each in facts.warming if each.ready < each.wanted and each.problem is not None]
    if stuck:
        yield no(Condition.PROGRESSING, stuck[0].reason, "; ".join(each.message for each in stuck))
    if facts.waiting:
        yield no(
            Condition.PROGRESSING,
            Reason.PREVIOUS_REVISIONS_DRAINING,
            f"a new revision of {', '.join(facts.waiting)} waits until one that drains has ended: "
            f"{_listed(list(_drains(status, Phase.DRAINING)))}; "
            "spec.drain.maxDrainingRevisions allows no more at once",
        )


def _moves(facts: Facts) -> Iterator[Finding]:
    late = [each for each in facts.warming if each.ready < each.wanted]
    if late:
        yield yes(Condition.PROGRESSING, Reason.WARMING, "; ".join(each.message for each in late))
    if facts.missing:
        yield yes(Condition.PROGRESSING, Reason.APPLYING, f"being made: {', '.join(map(str, facts.missing))}")
    if facts.unreported is not None:
        yield yes(Condition.PROGRESSING, Reason.USAGE_UNREPORTED, facts.unreported)


def _rests(status: StreamingStackStatus) -> Finding:
    found = list(_drains(status, Phase.DRAINING))
    if found:
        message = f"all runs as wanted; {_listed(found)}"
        return no(Condition.PROGRESSING, Reason.PREVIOUS_REVISIONS_DRAINING, message)
    return no(Condition.PROGRESSING, Reason.SETTLED, "all runs as wanted")


def draining(status: StreamingStackStatus) -> Finding:
    """Return Draining: which old revisions still serve, whom, and until when at most."""
    found = list(_drains(status, Phase.DRAINING, Phase.ENDING))
    if found:
        return yes(Condition.DRAINING, Reason.REVISIONS_DRAINING, _listed(found))
    return no(Condition.DRAINING, Reason.NOTHING_DRAINS, "no old revision serves sessions")


def components(status: StreamingStackStatus) -> Iterator[tuple[str, ComponentStatus]]:
    """Yield gateways and pools with what they are called in messages."""
    yield "gateways", status.gateway
    for pool in status.pools:
        yield f"pool {pool.name}", pool


def told(problems: Sequence[Problem]) -> str:
    """Return what was refused, in one message."""
    return "; ".join(dict.fromkeys(problem.message for problem in problems))


def sessions(count: int | None) -> str:
    """Return a number of sessions in words."""
    if count is None:
        return "sessions unknown, since a pod cannot be asked"
    return "1 session" if count == 1 else f"{count} sessions"


def _drains(status: StreamingStackStatus, *phases: Phase) -> Iterator[tuple[str, Revision]]:
    for label, component in components(status):
        for revision in component.revisions:
            if revision.phase in phases:
                yield label, revision


def _listed(found: Sequence[tuple[str, Revision]]) -> str:
    """Which revisions drain, the one that ends first before the others."""
    ordered = sorted(found, key=lambda each: each[1].drain_deadline or "")
    return "; ".join(_one(label, revision) for label, revision in ordered)


def _one(label: str, revision: Revision) -> str:
    if revision.phase is Phase.ENDING:
        return f"revision {revision.revision} of {label} ends: {sessions(revision.sessions)}"
    until = f"until {revision.drain_deadline} at the latest"
    return f"revision {revision.revision} of {label} drains, {until}: {sessions(revision.sessions)}"
