"""Gateways and pools of a stack, each with what there is of it and what becomes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from streamstack_operator import names
from streamstack_operator.facts import Observed, Release, Stack
from streamstack_operator.model.status import Phase
from streamstack_operator.names import ANNOTATION_RENDER, Component
from streamstack_operator.plan import retained, workloads
from streamstack_operator.plan.revisions import Rollout, Terms, advance, retire
from streamstack_operator.plan.workloads import Existing


@dataclass(frozen=True, slots=True)
class Part:
    """Gateways or one pool: what there is, and what becomes of it. ``pool`` is None for the gateways."""

    existing: Existing
    rollout: Rollout
    pool: str | None
    wanted: int
    capacity: int
    model: str = ""

    @property
    def revisions(self) -> Iterator[tuple[str, str | None, str]]:
        """Component, pool and revision of those that stay."""
        component = Component.GATEWAY if self.pool is None else Component.ASR
        for revision in self.rollout.revisions:
            if revision.phase is not Phase.ENDING:
                yield component, self.pool, revision.revision


def parts(stack: Stack, observed: Observed, release: Release, *, now: datetime) -> tuple[Part, ...]:
    """Return the gateways, then pools: those of the spec in its order, then those that it has no more."""
    gateways = _gateways(stack, observed, release, now=now)
    return (gateways, *_pools(stack, observed, release, gateways=gateways, now=now))


def renews(stack: Stack) -> bool:
    """Tell whether templates as this operator renders them are asked for and are not active everywhere yet."""
    asked = stack.annotations.get(ANNOTATION_RENDER)
    return asked is not None and asked != stack.status.rendered


def _gateways(stack: Stack, observed: Observed, release: Release, *, now: datetime) -> Part:
    existing, blueprint = workloads.gateways(stack, observed), workloads.gateway_blueprint(stack, release)
    rollout = advance(existing, blueprint, terms=_terms(stack), now=now, renew=renews(stack))
    return Part(existing, rollout, None, blueprint.replicas, blueprint.capacity)


def _pools(stack: Stack, observed: Observed, release: Release, *, gateways: Part, now: datetime) -> tuple[Part, ...]:
    found = []
    for pool in stack.spec.pools:
        existing, blueprint = workloads.pool(stack, observed, pool.name), workloads.pool_blueprint(stack, pool, release)
        rollout = advance(existing, blueprint, terms=_terms(stack), now=now, renew=renews(stack))
        found.append(Part(existing, rollout, pool.name, blueprint.replicas, blueprint.capacity, pool.routing_name))
    wanted = {pool.name for pool in stack.spec.pools}
    names_left = [name for name in workloads.pool_names(stack, observed) if name not in wanted]
    dropped = [_dropped(stack, observed, name, gateways=gateways, now=now) for name in names_left]
    return (*found, *(part for part in dropped if part.rollout.revisions))


def _dropped(stack: Stack, observed: Observed, name: str, *, gateways: Part, now: datetime) -> Part:
    """A pool that the spec has no more: it drains from when the active gateways do not know it any longer."""
    elsewhere = retained.elsewhere(name, gateways.existing)
    existing = workloads.pool(stack, observed, name, elsewhere=elsewhere)
    active = gateways.existing.deployments.get(gateways.rollout.active or "")
    in_use = active is not None and retained.mentions(active, names.pool(stack.name, name))
    model = next((pool.model for pool in stack.status.pools if pool.name == name), "")
    return Part(existing, retire(existing, terms=_terms(stack), now=now, in_use=in_use), name, 0, 0, model)


def _terms(stack: Stack) -> Terms:
    drain = stack.spec.drain
    return Terms(drain.max_draining_revisions, stack.spec.max_session_seconds + drain.margin_seconds)
