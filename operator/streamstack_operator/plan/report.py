"""What a person is told of a stack: the status with its numbers, conditions and summary."""

from collections.abc import Iterator
from datetime import datetime

from streamstack_operator.facts import ObjectKey, Observed, Release, Stack
from streamstack_operator.model.status import ComponentStatus, Phase, PoolStatus, StreamingStackStatus
from streamstack_operator.names import ANNOTATION_RENDER, Condition
from streamstack_operator.plan import availability, licensing, progress, readiness, status, summary, usage
from streamstack_operator.plan.conditions import Finding, conditions
from streamstack_operator.plan.parts import Part, renews
from streamstack_operator.plan.usage import Usage


def report(
    stack: Stack,
    observed: Observed,
    release: Release,
    parts: tuple[Part, ...],
    *,
    balanced: bool,
    missing: list[ObjectKey],
    owed: Usage,
    now: datetime,
) -> StreamingStackStatus:
    """Return the status. ``balanced`` tells whether there is a balancer, ``missing`` are children yet to be made.

    ``owed`` is what is known of usage.
    """
    balancer = status.balancer(stack, observed) if balanced else None
    proxies = licensing.proxies(stack, observed)
    new = status.numbers(
        stack,
        release,
        gateway=_component(parts[0]),
        pools=[_pool(part) for part in parts[1:]],
        rest={
            "balancer_ready": None if balancer is None else balancer.text,
            "license": usage.told(licensing.report(stack, observed, proxies), owed),
            "credential": status.credential(observed.credential),
            "rendered": _rendered(stack, parts),
            "drain_deadline": None,
        },
    )
    new = status.settled(stack.status, new)
    facts = _facts(stack, observed, parts, missing=missing, owed=owed)
    found = {finding.type: finding for finding in _findings(observed, parts, new, facts)}
    found[Condition.LICENSE_VALID] = licensing.valid(stack, observed, proxies, now=now)
    found[Condition.USAGE_BACKLOG] = usage.backlog(stack, owed, new.license)
    ready = readiness.ready(found, failures=observed.failures, missing=missing, proxies=proxies, balancer=balancer)
    said = conditions(stack.status.conditions, [ready, *found.values()], generation=stack.generation, now=now)
    return summary.summed_up(new.model_copy(update={"conditions": said}))


def _component(part: Part) -> ComponentStatus:
    return status.component(part.existing, part.rollout, wanted=part.wanted, capacity=part.capacity)


def _pool(part: Part) -> PoolStatus:
    return status.pool(part.pool or "", part.model, _component(part))


def _rendered(stack: Stack, parts: tuple[Part, ...]) -> str | None:
    """Return the render annotation that was obeyed last: this one only when every active revision is as asked."""
    done = renews(stack) and all(part.rollout.renewed for part in parts)
    return stack.annotations[ANNOTATION_RENDER] if done else stack.status.rendered


def _facts(
    stack: Stack, observed: Observed, parts: tuple[Part, ...], *, missing: list[ObjectKey], owed: Usage
) -> progress.Facts:
    asked = [part for part in parts if part.wanted]
    waits = usage.size(stack, owed).waits
    return progress.Facts(
        failures=observed.failures,
        missing=missing,
        warming=[_warming(part, observed) for part in asked],
        waiting=[part.existing.label for part in asked if part.rollout.waits],
        unreported=waits,
    )


def _findings(
    observed: Observed, parts: tuple[Part, ...], new: StreamingStackStatus, facts: progress.Facts
) -> Iterator[Finding]:
    serving = [_serving(part, observed) for part in parts if part.wanted]
    yield readiness.accepted(observed.failures)
    yield progress.progressing(facts, new)
    yield availability.gateways(serving[0])
    yield availability.pools(serving[1:])
    yield progress.draining(new)


def _serving(part: Part, observed: Observed) -> availability.Availability:
    return availability.of_revision(
        part.existing.label, part.existing.pods, part.rollout.active, wanted=part.wanted, failures=observed.failures
    )


def _warming(part: Part, observed: Observed) -> availability.Availability:
    """How far the revision is that is to take over, the active one where there is none."""
    found = part.rollout.phase(Phase.WARMING) or part.rollout.phase(Phase.ACTIVE)
    name = found[0].revision
    label = f"{part.existing.label}, new revision {name}" if found[0].phase is Phase.WARMING else part.existing.label
    return availability.of_revision(
        label, part.existing.pods, name, wanted=found[0].replicas, failures=observed.failures
    )
