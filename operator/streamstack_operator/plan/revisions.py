"""Which generation of a pod template takes new sessions, the same for gateways and pools (DESIGN 4 "Templates", 8).

A changed template is a new Deployment, never an update of one. It warms up, the Service is flipped to it once enough of
its pods are ready, and the one before drains. The Service is the truth of where new sessions go: an operator that died
between the flip and the status finds it there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from streamstack_operator.build.rendering import Rendered
from streamstack_operator.facts import Manifest, ObjectKey
from streamstack_operator.model.status import Phase, Revision
from streamstack_operator.plan import draining, moments
from streamstack_operator.plan.workloads import Blueprint, Existing, apparent_rendering


@dataclass(frozen=True, slots=True)
class Terms:
    """How revisions are let go: how many may drain at once, and for how long each at most."""

    max_draining: int
    drain_seconds: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """What becomes of the revisions of gateways or of a pool.

    ``replicas`` are numbers of pods to scale to, by Deployment; ``waits`` tells that a new revision has to wait for one
    that drains; ``renewed`` that the active one is as this operator renders it.
    """

    active: str | None
    revisions: tuple[Revision, ...]
    apply: tuple[Manifest, ...] = ()
    services: tuple[Manifest, ...] = ()
    replicas: Mapping[ObjectKey, int] | None = None
    delete: tuple[ObjectKey, ...] = ()
    waits: bool = False
    renewed: bool = True

    def phase(self, phase: Phase) -> list[Revision]:
        """Return the revisions in a phase."""
        return [revision for revision in self.revisions if revision.phase is phase]


def advance(existing: Existing, blueprint: Blueprint, *, terms: Terms, now: datetime, renew: bool) -> Rollout:
    """Return what becomes of gateways or of a pool that the spec asks for.

    ``renew`` asks for the newest rendering though the present one still serves the spec.
    """
    known = _known(existing, blueprint)
    before = _before(existing, known)
    wanted = _wanted(known, before, blueprint, renew=renew)
    others = [
        _let_go(existing, revision, terms=terms, now=now)
        for name, revision in known.items()
        if name not in {before, wanted.revision}
    ]
    crowded = sum(revision.phase is Phase.DRAINING for revision in others) >= terms.max_draining
    flips = _flips(existing, before, wanted.revision, wanted_pods=blueprint.replicas, crowded=crowded)
    # It would warm for nothing: up to a whole drain, on pods that the draining ones leave no room for.
    waits = not flips and crowded and wanted.revision not in existing.deployments
    active = wanted.revision if flips else before
    revisions = {revision.revision: revision for revision in others}
    if before is not None and before != active:
        revisions[before] = draining.begin(known[before], now, seconds=terms.drain_seconds)
    elif before is not None:
        revisions[before] = draining.clear(known[before], Phase.ACTIVE)
    if not waits:
        phase = Phase.ACTIVE if active == wanted.revision else Phase.WARMING
        revisions[wanted.revision] = draining.clear(_of(wanted, known), phase)
    return _rollout(existing, blueprint, revisions, wanted=wanted, active=active, waits=waits)


def _flips(existing: Existing, before: str | None, wanted: str, *, wanted_pods: int, crowded: bool) -> bool:
    """Tell whether new sessions go to the wanted revision from now on; ``crowded``: as many drain as may."""
    if before is None or before == wanted or existing.is_lost(before):
        return True
    if wanted == existing.previous.active_revision:
        # Somebody led the Service away by hand: what was the active one is so again at once.
        return True
    return existing.ready(wanted) >= wanted_pods and not crowded


def _of(wanted: Rendered, known: Mapping[str, Revision]) -> Revision:
    """Return the wanted revision as it is known, or a new one."""
    new = Revision(revision=wanted.revision, phase=Phase.WARMING, rendering=wanted.rendering)
    return known.get(wanted.revision, new).model_copy(update={"rendering": wanted.rendering})


def retire(existing: Existing, *, terms: Terms, now: datetime, in_use: bool) -> Rollout:
    """Return what becomes of a pool that is no longer asked for.

    While the active gateways still know it (``in_use``), sessions come to its active revision as before.
    """
    known = {revision.revision: revision for revision in existing.previous.revisions if _is_there(existing, revision)}
    for name, deployment in existing.deployments.items():
        known.setdefault(name, _adopted(name, deployment, None))
    before = _before(existing, known)
    revisions = {}
    for name, revision in known.items():
        if name == before and in_use:
            revisions[name] = draining.clear(revision, Phase.ACTIVE)
        elif name == before and revision.phase is Phase.WARMING:
            # The operator died between the flip and the status: there may be sessions.
            revisions[name] = draining.begin(revision, now, seconds=terms.drain_seconds)
        else:
            revisions[name] = _let_go(existing, revision, terms=terms, now=now)
    return Rollout(
        active=before if in_use else None,
        revisions=_measured(existing, revisions, {}),
        delete=_ended(existing, revisions.values()),
    )


def _known(existing: Existing, blueprint: Blueprint) -> dict[str, Revision]:
    """Return the revisions that there are: those of the status, and Deployments that a lost status does not name."""
    known = {revision.revision: revision for revision in existing.previous.revisions if _is_there(existing, revision)}
    for name, deployment in existing.deployments.items():
        if name not in known:
            known[name] = _adopted(name, deployment, blueprint)
    return known


def _is_there(existing: Existing, revision: Revision) -> bool:
    if revision.phase in {Phase.WARMING, Phase.ACTIVE}:
        return True
    return revision.revision in existing.deployments or bool(existing.of(revision.revision))


def _adopted(name: str, deployment: Manifest, blueprint: Blueprint | None) -> Revision:
    """Whatever it is, it may have sessions: it drains, unless it turns out to be the active one or the wanted one."""
    rendering = apparent_rendering(deployment) if blueprint is None else blueprint.origin(name, deployment)
    return Revision(revision=name, phase=Phase.DRAINING, rendering=rendering)


def _before(existing: Existing, known: Mapping[str, Revision]) -> str | None:
    """Return where new sessions go until this plan is carried out."""
    if existing.selected in existing.deployments:
        return existing.selected
    said = existing.previous.active_revision
    return said if said in known else None


def _wanted(known: Mapping[str, Revision], before: str | None, blueprint: Blueprint, *, renew: bool) -> Rendered:
    """Return the revision that the spec asks for: one there is, as it was made, rather than a new one."""
    if not renew:
        for revision in _by_preference(known, before):
            again = blueprint.again(revision.revision, revision.rendering)
            if again is not None:
                return again
    return blueprint.make(blueprint.newest)


def _by_preference(known: Mapping[str, Revision], before: str | None) -> list[Revision]:
    rank = {Phase.ACTIVE: 0, Phase.WARMING: 1, Phase.DRAINING: 2, Phase.ENDING: 3}
    newest_first = sorted(known.values(), key=lambda each: each.drain_started_at or "", reverse=True)
    return sorted(newest_first, key=lambda each: -1 if each.revision == before else rank[each.phase])


def _let_go(existing: Existing, revision: Revision, *, terms: Terms, now: datetime) -> Revision:
    """Return a revision that neither takes new sessions nor is to."""
    never_active = revision.phase is Phase.WARMING and revision.drain_deadline is None
    if never_active and _is_untouched(existing, revision.revision):
        return revision.model_copy(update={"phase": Phase.ENDING, "idle_since": None})
    if never_active or revision.phase is Phase.ACTIVE:
        return draining.begin(revision, now, seconds=terms.drain_seconds)
    sessions = _all_sessions(existing, revision.revision)
    return draining.go_on(revision, sessions, now, seconds=terms.drain_seconds)


def _all_sessions(existing: Existing, revision: str) -> int | None:
    here, elsewhere = existing.sessions(revision), existing.elsewhere
    return None if here is None or elsewhere is None else here + elsewhere


def _is_untouched(existing: Existing, revision: str) -> bool:
    """Tell whether a revision that no Service has led to has no session: its pods say so, or are not ready."""
    reports = existing.reports
    return existing.all_seen(revision) and all(
        not pod.ready or (pod.uid in reports and reports[pod.uid].sessions == 0) for pod in existing.of(revision)
    )


def _rollout(
    existing: Existing,
    blueprint: Blueprint,
    revisions: Mapping[str, Revision],
    *,
    wanted: Rendered,
    active: str | None,
    waits: bool,
) -> Rollout:
    targets = {} if active is None else {active: blueprint.replicas}
    if wanted.revision != active and not waits:
        targets[wanted.revision] = max(blueprint.replicas, existing.replicas(wanted.revision))
    made = {} if waits else {wanted.revision: wanted}
    scaled = {name: _deployment_key(existing, name, made) for name in targets}
    return Rollout(
        active=active,
        revisions=_measured(existing, revisions, targets),
        apply=tuple(_manifests(existing, blueprint, revisions.values(), made)),
        services=() if active is None else blueprint.services(active),
        replicas={key: targets[name] for name, key in scaled.items() if key is not None},
        delete=_ended(existing, revisions.values()),
        waits=waits,
        renewed=active == blueprint.make(blueprint.newest).revision,
    )


def _manifests(
    existing: Existing, blueprint: Blueprint, revisions: Iterable[Revision], made: Mapping[str, Rendered]
) -> Iterable[Manifest]:
    """Yield each revision's Deployment and budget. One that the spec no longer renders alike is left as it is."""
    for revision in sorted(revisions, key=lambda each: each.revision):
        name = revision.revision
        if revision.phase is Phase.ENDING:
            continue
        rendered = made.get(name) or blueprint.again(name, revision.rendering)
        # A draining one that somebody deleted stays away: it would come back with pods that nobody needs.
        if rendered is not None and (revision.phase is not Phase.DRAINING or name in existing.deployments):
            yield rendered.deployment
        yield blueprint.budget(name)


def _deployment_key(existing: Existing, revision: str, made: Mapping[str, Rendered]) -> ObjectKey | None:
    manifest = made[revision].deployment if revision in made else existing.deployments.get(revision)
    return None if manifest is None else ObjectKey.of(manifest)


def _ended(existing: Existing, revisions: Iterable[Revision]) -> tuple[ObjectKey, ...]:
    return tuple(
        ObjectKey.of(existing.deployments[revision.revision])
        for revision in revisions
        if revision.phase is Phase.ENDING and revision.revision in existing.deployments
    )


def _measured(
    existing: Existing, revisions: Mapping[str, Revision], targets: Mapping[str, int]
) -> tuple[Revision, ...]:
    """Return the revisions with their numbers: active first, then as they stand in the cluster."""
    order = [Phase.ACTIVE, Phase.WARMING, Phase.DRAINING, Phase.ENDING]
    ordered = sorted(revisions.values(), key=lambda each: (order.index(each.phase), each.revision))
    return tuple(measured(existing, each, targets.get(each.revision)) for each in ordered)


def measured(existing: Existing, revision: Revision, target: int | None = None) -> Revision:
    """Return a revision with the numbers of its pods as they are now; ``target`` is what it is scaled to."""
    name = revision.revision
    return revision.model_copy(
        update={
            "replicas": existing.replicas(name) if target is None else target,
            "ready": existing.ready(name),
            "sessions": existing.sessions(name),
            "oldest_session_started_at": moments.minute(existing.oldest(name)),
        }
    )
