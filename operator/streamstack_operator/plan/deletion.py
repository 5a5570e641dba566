"""A stack that is deleted with ``drain.onDelete``: gateways finish their sessions, proxies report usage, then all goes.

The finalizer is what keeps everything else alive meanwhile. Without it children go with their owner, at once. Turning
``drain.onDelete`` off lets go of a deleted stack at any time.
"""

from datetime import datetime
from typing import Final

from streamstack_operator.facts import ObjectKey, Observed, Plan, Release, Stack
from streamstack_operator.model.status import Phase, Revision, StreamingStackStatus
from streamstack_operator.names import FINALIZER, Condition, Reason
from streamstack_operator.plan import draining, licensing, moments, status, usage, workloads
from streamstack_operator.plan.conditions import Finding, conditions, no, yes
from streamstack_operator.plan.events import events
from streamstack_operator.plan.progress import sessions, told
from streamstack_operator.plan.revisions import Rollout, measured
from streamstack_operator.plan.summary import summed_up
from streamstack_operator.plan.workloads import Existing, apparent_rendering

AGAIN_SECONDS: Final = 5.0


def delete(stack: Stack, observed: Observed, release: Release, *, now: datetime) -> Plan:
    """Return what is to be done for a stack that is being deleted.

    Gateways' Deployments are deleted: their pods are asked to stop, take no new session and end with their last one.
    Nothing is applied; pools, license proxy and Services serve until no gateway pod is left, and license proxies until
    the authority has all usage, or until the deadline that gateways had: journals outlive the stack.
    """
    gateways = workloads.gateways(stack, observed)
    keeps = stack.spec.drain.on_delete and FINALIZER in stack.finalizers
    drains = keeps and bool(gateways.pods or gateways.deployments)
    rollout = _ending(stack, gateways, now=now)
    deadline = stack.status.drain_deadline or moments.after(now, _drain_seconds(stack))
    owed = usage.usage(stack, observed)
    waits = usage.unreported(owed) if keeps and not drains and not _is_over(deadline, now) else None
    gateway = status.component(gateways, rollout, wanted=0, capacity=0)
    proxies = licensing.report(stack, observed, licensing.proxies(stack, observed))
    rest = {"license": usage.told(proxies, owed), "drain_deadline": deadline if keeps else None}
    new = status.numbers(stack, release, gateway=gateway, pools=stack.status.pools, rest=rest)
    new = status.settled(stack.status, new)
    found = [
        no(Condition.READY, Reason.DELETING, f"the stack is deleted{_refused(observed)}"),
        _draining(rollout, new, drains=drains, waits=waits),
        usage.backlog(stack, owed, new.license),
    ]
    said = conditions(stack.status.conditions, found, generation=stack.generation, now=now)
    new = summed_up(new.model_copy(update={"conditions": said}))
    return Plan(
        status=new,
        delete=tuple(map(ObjectKey.of, gateways.deployments.values())) if drains else (),
        finalizer=drains or waits is not None,
        events=events(stack.status, new, deleting=True),
        again_seconds=AGAIN_SECONDS,
    )


def _ending(stack: Stack, gateways: Existing, *, now: datetime) -> Rollout:
    """Return all revisions as ending, each at the latest when its pods' grace is over."""
    known = {revision.revision: revision for revision in stack.status.gateway.revisions}
    for name, deployment in gateways.deployments.items():
        rendering = apparent_rendering(deployment)
        known.setdefault(name, Revision(revision=name, phase=Phase.ACTIVE, rendering=rendering))
    found = []
    for name, revision in known.items():
        if name in gateways.deployments or gateways.of(name):
            begun = (
                revision if revision.drain_deadline else draining.begin(revision, now, seconds=_drain_seconds(stack))
            )
            found.append(measured(gateways, begun.model_copy(update={"phase": Phase.ENDING}), 0))
    return Rollout(active=None, revisions=tuple(found))


def _drain_seconds(stack: Stack) -> int:
    return stack.spec.max_session_seconds + stack.spec.drain.margin_seconds


def _is_over(deadline: str, now: datetime) -> bool:
    moment = moments.read(deadline)
    return moment is None or now >= moment


def _refused(observed: Observed) -> str:
    return f"; {told(observed.failures)}" if observed.failures else ""


def _draining(rollout: Rollout, new: StreamingStackStatus, *, drains: bool, waits: str | None) -> Finding:
    way_out = "spec.drain.onDelete: false lets it go now"
    if drains:
        until = max((revision.drain_deadline or "" for revision in rollout.revisions), default="")
        latest = f" {until} at the latest" if until else ""
        message = (
            f"{sessions(new.gateway.sessions)}; the stack goes when its gateways have finished,{latest}; {way_out}"
        )
        return yes(Condition.DRAINING, Reason.STACK_DRAINING, message)
    if waits is not None:
        message = (
            f"no gateway is left; the stack waits for {waits}, until {new.drain_deadline} at the latest; {way_out}"
        )
        return yes(Condition.DRAINING, Reason.USAGE_UNREPORTED, message)
    return no(Condition.DRAINING, Reason.NOTHING_DRAINS, "no gateway is left")
