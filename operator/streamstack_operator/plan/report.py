"""What a person is told of a stack: the status with its numbers, conditions and summary."""

from datetime import datetime

from streamstack_operator.facts import ObjectKey, Observed, Release, Stack
from streamstack_operator.model.status import ComponentStatus, Phase, PoolStatus, StreamingStackStatus
from streamstack_operator.names import ANNOTATION_RENDER, Condition
from streamstack_operator.plan import availability, licensing, progress, readiness, status, summary
from streamstack_operator.plan.conditions import Finding, conditions
from streamstack_operator.plan.parts import Part, renews


def report(
    stack: Stack,
    observed: Observed,
    release: Release,
    parts: tuple[Part, ...],
    *,
    balanced: bool,
    missing: list[ObjectKey],
    now: datetime,
) -> StreamingStackStatus:
    """Return the status. ``balanced`` tells whether there is a balancer, ``missing`` are children yet to be made."""
    balancer = status.balancer(stack, observed) if balanced else None
    proxies = licensing.proxies(stack, observed)
    new = status.numbers(
        stack,
        release,
        gateway=_component(parts[0]),
        pools=[_pool(part) for part in parts[1:]],
        rest={
            "balancer_ready": None if balancer is None else balancer.text,
            "license": licensing.report(observed.license, proxies),
            "credential": status.credential(observed.credential),
            "rendered": _rendered(stack, parts),
        },
    )
    new = status.settled(stack.status, new)
    found = _findings(stack, observed, parts, new, missing=missing)
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


def _findings(
    stack: Stack, observed: Observed, parts: tuple[Part, ...], new: StreamingStackStatus, *, missing: list[ObjectKey]
) -> dict[Condition, Finding]:
    asked = [part for part in parts if part.wanted]
    serving = [_serving(part, observed) for part in asked]
    facts = progress.Facts(
        failures=observed.failures,
        missing=missing,
        warming=[_warming(part, observed) for part in asked],
        waiting=[part.existing.label for part in asked if part.rollout.waits],
    )
    found = [
        readiness.accepted(observed.failures),
        progress.progressing(facts, new),
        availability.gateways(serving[0]),
        availability.pools(serving[1:]),
        licensing.valid(stack, observed, licensing.proxies(stack, observed)),
        progress.draining(new),
    ]
    return {finding.type: finding for finding in found}


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
