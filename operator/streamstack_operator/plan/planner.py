"""The plan for one stack, put together from what each part decides (DESIGN 8: observe, plan, apply, status)."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from streamstack_operator import names
from streamstack_operator.build import children
from streamstack_operator.facts import (
    CredentialStage,
    CredentialStep,
    Manifest,
    ObjectKey,
    Observed,
    Plan,
    Problem,
    Release,
    Stack,
)
from streamstack_operator.model.spec import Balancer
from streamstack_operator.model.status import ConditionStatus, StreamingStackStatus
from streamstack_operator.names import ANNOTATION_RECONCILE, ANNOTATION_ROTATE, RECONCILE_DISABLED, Condition, Reason
from streamstack_operator.plan import credential, deletion, retained, usage
from streamstack_operator.plan.conditions import Finding, conditions, find, no
from streamstack_operator.plan.events import events
from streamstack_operator.plan.leftovers import Kept, leftovers
from streamstack_operator.plan.parts import Part
from streamstack_operator.plan.parts import parts as of_stack
from streamstack_operator.plan.report import report
from streamstack_operator.plan.scale import scales
from streamstack_operator.plan.summary import summed_up

SOON_SECONDS: Final = 5.0
"""While something moves that nobody tells of by itself: sessions that end, pods that learn a credential."""
LATER_SECONDS: Final = 30.0

UNREADABLE: Final = frozenset({Reason.NAME_CLASH, Reason.FORBIDDEN})
"""Why a credential is not seen though there may be one: none is made over it."""

EDGE: Final = frozenset({"Ingress", "HTTPRoute"})
"""What leads clients here comes last."""


def plan(stack: Stack, observed: Observed, release: Release, *, now: datetime) -> Plan:
    """Return what is to be done for a stack whose spec has passed the checks. ``now`` is aware."""
    if stack.deleting:
        return deletion.delete(stack, observed, release, now=now)
    parts = of_stack(stack, observed, release, now=now)
    balanced = retained.with_balancer(stack, observed, parts[0].existing)
    apply = _apply(stack, release, parts, balanced=balanced)
    wanted = {ObjectKey.of(manifest) for manifest in apply}
    step = _credential(stack, observed, now=now)
    missing = [key for key in sorted(wanted) if key not in observed.objects]
    owed = usage.usage(stack, observed)
    new = report(stack, observed, release, parts, balanced=balanced, missing=missing, owed=owed, now=now)
    replicas = _replicas(stack, parts, balanced=balanced, proxies=usage.size(stack, owed).replicas)
    return Plan(
        status=new,
        apply=apply,
        scale=tuple(scales(replicas, observed.objects, wanted)),
        delete=(*(key for part in parts for key in part.rollout.delete), *_leftovers(stack, observed, wanted, parts)),
        credential=step,
        finalizer=stack.spec.drain.on_delete,
        events=events(stack.status, new),
        again_seconds=SOON_SECONDS if step is not None or _moves(new) else LATER_SECONDS,
    )


def refused(previous: StreamingStackStatus, *, generation: int, problem: Problem, now: datetime) -> Plan:
    """Return the plan for a spec that cannot be acted on: children stay as they are, and the status says why.

    ``finalizer`` of this plan says nothing: whether there is one stays as it is.
    """
    message = f"{problem.message}; what ran before runs on"
    found = [
        no(Condition.READY, Reason.NOT_ACCEPTED, message),
        no(Condition.ACCEPTED, problem.reason, problem.message),
    ]
    return _left_alone(previous, found, generation=generation, now=now)


def paused(previous: StreamingStackStatus, *, generation: int, now: datetime) -> Plan:
    """Return the plan for a stack whose annotation asks to leave it alone, in deletion too; as with ``refused``."""
    message = f"nothing is changed while the annotation {ANNOTATION_RECONCILE} is {RECONCILE_DISABLED}"
    found = [no(Condition.READY, Reason.PAUSED, message)]
    return _left_alone(previous, found, generation=generation, now=now)


def _left_alone(previous: StreamingStackStatus, found: list[Finding], *, generation: int, now: datetime) -> Plan:
    said = conditions(previous.conditions, found, generation=generation, now=now)
    new = summed_up(previous.model_copy(update={"observed_generation": generation, "conditions": said}))
    return Plan(status=new, events=events(previous, new), again_seconds=LATER_SECONDS)


def _credential(stack: Stack, observed: Observed, *, now: datetime) -> CredentialStep | None:
    if observed.credential is None and any(failure.reason in UNREADABLE for failure in observed.failures):
        return None
    return credential.step(
        observed.credential,
        observed.pods,
        requested=stack.annotations.get(ANNOTATION_ROTATE),
        rotate_after_seconds=stack.spec.credential.rotate_after_seconds,
        now=now,
    )


def _apply(stack: Stack, release: Release, parts: tuple[Part, ...], *, balanced: bool) -> tuple[Manifest, ...]:
    spec = stack.spec.model_copy(update={"balancer": Balancer.NGINX if balanced else Balancer.GATEWAY})
    fixed = children.fixed(replace(stack, spec=spec), release)
    # Who is called comes before who calls, and pods before the Services that lead to them.
    ordered = (*parts[1:], parts[0])
    return (
        *(manifest for manifest in fixed if manifest["kind"] not in EDGE),
        *(manifest for part in ordered for manifest in part.rollout.apply),
        *(service for part in ordered for service in part.rollout.services),
        *(manifest for manifest in fixed if manifest["kind"] in EDGE),
    )


def _replicas(stack: Stack, parts: tuple[Part, ...], *, balanced: bool, proxies: int) -> dict[ObjectKey, int]:
    found = {ObjectKey("apps/v1", "StatefulSet", names.license_proxy(stack.name)): proxies}
    if balanced:
        found[ObjectKey("apps/v1", "Deployment", names.balancer(stack.name))] = stack.spec.nginx.replicas
    for part in parts:
        found.update(part.rollout.replicas or {})
    return found


def _leftovers(
    stack: Stack, observed: Observed, wanted: set[ObjectKey], parts: tuple[Part, ...]
) -> tuple[ObjectKey, ...]:
    kept = Kept(
        pools={part.pool for part in parts if part.pool is not None and part.rollout.revisions},
        revisions={revision for part in parts for revision in part.revisions},
    )
    return tuple(leftovers(stack.name, observed.objects, wanted=wanted, kept=kept))


def _moves(new: StreamingStackStatus) -> bool:
    """Tell whether the next look should come soon."""
    said = {kind: find(new.conditions, Condition(kind)) for kind in Condition}
    holds = {kind for kind, each in said.items() if each is not None and each.status is ConditionStatus.TRUE}
    rotates = new.credential is not None and new.credential.stage != CredentialStage.SETTLED
    return rotates or Condition.READY not in holds or bool(holds & {Condition.PROGRESSING, Condition.DRAINING})
