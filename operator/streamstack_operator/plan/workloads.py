"""Gateways, or one pool, as revisions are planned for them: what there is, and how a revision would be made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamstack_common.sessions_report import SessionsReport
from streamstack_operator import names
from streamstack_operator.build import asr, gateway
from streamstack_operator.build.rendering import NEWEST, RENDERERS, Rendered, UnknownRendererError, newest
from streamstack_operator.facts import Manifest, ObjectKey, Observed, PodFacts, Release, Stack
from streamstack_operator.model.pool import Pool
from streamstack_operator.model.status import ComponentStatus, Rendering
from streamstack_operator.names import LABEL_COMPONENT, LABEL_POOL, LABEL_REVISION, Component


@dataclass(frozen=True, slots=True)
class Existing:
    """What there is of gateways or of one pool.

    ``deployments`` by revision; ``pods`` of every revision; ``reports`` by pod uid; ``selected`` is the revision that
    the Service leads new sessions to; ``elsewhere`` counts what other pods know of sessions here, None when unknown.
    """

    label: str
    previous: ComponentStatus
    deployments: Mapping[str, Manifest]
    pods: tuple[PodFacts, ...]
    reports: Mapping[str, SessionsReport]
    selected: str | None
    elsewhere: int | None = 0

    def of(self, revision: str) -> list[PodFacts]:
        """Return a revision's pods, those that are going included."""
        return [pod for pod in self.pods if pod.revision == revision]

    def all_seen(self, revision: str) -> bool:
        """Tell whether we know every pod that its Deployment counts (terminating ones are not in ``replicas``)."""
        status = self.deployments.get(revision, {}).get("status") or {}
        return sum(not pod.terminating for pod in self.of(revision)) >= int(status.get("replicas") or 0)

    def sessions(self, revision: str) -> int | None:
        """Return a revision's live sessions; None while a pod of it cannot be asked (DESIGN 3, unknown-is-busy)."""
        return total(self.of(revision), self.reports) if self.all_seen(revision) else None

    def ready(self, revision: str) -> int:
        """Return how many of its pods take new sessions."""
        return sum(pod.ready and pod.traffic and not pod.terminating for pod in self.of(revision))

    def replicas(self, revision: str) -> int:
        """Return how many pods its Deployment is told to have."""
        spec = self.deployments.get(revision, {}).get("spec") or {}
        return int(spec.get("replicas", 1)) if revision in self.deployments else 0

    def oldest(self, revision: str) -> datetime | None:
        """Return when its oldest live session began."""
        reports = (self.reports.get(pod.uid) for pod in self.of(revision))
        return min(
            (report.oldest_started_at for report in reports if report and report.oldest_started_at), default=None
        )

    def is_lost(self, revision: str) -> bool:
        """Tell whether it serves nobody and could not: no pod is ready, and certainly no session is live."""
        status = self.deployments.get(revision, {}).get("status") or {}
        ready = any(pod.ready for pod in self.of(revision)) or int(status.get("readyReplicas") or 0) > 0
        return not ready and self.sessions(revision) == 0


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How revisions of gateways or of one pool are made from the present spec.

    ``capacity`` is sessions a pod; ``make`` raises UnknownRendererError.
    """

    replicas: int
    capacity: int
    newest: Rendering
    make: Callable[[Rendering], Rendered]
    services: Callable[[str], tuple[Manifest, ...]]
    budget: Callable[[str], Manifest]

    def again(self, revision: str, rendering: Rendering) -> Rendered | None:
        """Return a revision as it was made, None when the spec asks for another one by now.

        What a status says of how it was made may be a guess, from when it was found without one: it is of whichever
        renderer makes it.
        """
        versions = dict.fromkeys((rendering.version, *sorted(RENDERERS, reverse=True)))
        tries = (self._made(rendering.model_copy(update={"version": version})) for version in versions)
        return next((made for made in tries if made is not None and made.revision == revision), None)

    def origin(self, revision: str, deployment: Manifest) -> Rendering:
        """Return how a Deployment was made that no status knows; a guess only where the spec asks for another one."""
        guess = apparent_rendering(deployment)
        made = self.again(revision, self.newest) or self.again(revision, guess)
        return guess if made is None else made.rendering

    def _made(self, rendering: Rendering) -> Rendered | None:
        try:
            return self.make(rendering)
        except UnknownRendererError:
            # A newer operator made it, and this one cannot tell whether the spec still asks for it.
            return None


def apparent_rendering(deployment: Manifest) -> Rendering:
    """Return how a Deployment seems to have been made: its image may be the default one, or one that the spec named."""
    containers: list[Mapping[str, Any]] = deployment["spec"]["template"]["spec"].get("containers") or [{}]
    return Rendering(version=NEWEST, image=containers[0].get("image") or "")


def total(pods: Iterator[PodFacts] | list[PodFacts], reports: Mapping[str, SessionsReport]) -> int | None:
    """Return the pods' live sessions; None while one of them cannot be asked."""
    counts = [sessions_of(pod, reports) for pod in pods]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def sessions_of(pod: PodFacts, reports: Mapping[str, SessionsReport]) -> int | None:
    """Return a pod's live sessions, None when it cannot be asked; without process or address it can have none."""
    report = reports.get(pod.uid)
    if report is not None:
        return report.sessions
    return 0 if pod.ip is None or not pod.running else None


def gateways(stack: Stack, observed: Observed) -> Existing:
    """Return what there is of the gateways."""
    return _existing(stack, observed, Component.GATEWAY, None, stack.status.gateway)


def gateway_blueprint(stack: Stack, release: Release) -> Blueprint:
    """Return how a revision of the gateways is made."""
    return Blueprint(
        replicas=stack.spec.gateway.replicas,
        capacity=stack.spec.gateway.capacity,
        newest=newest(release, Component.GATEWAY),
        make=lambda rendering: gateway.render(stack, rendering),
        services=lambda revision: gateway.services(stack, revision),
        budget=lambda revision: gateway.budget(stack, revision),
    )


def pool(stack: Stack, observed: Observed, name: str, *, elsewhere: int | None = 0) -> Existing:
    """Return what there is of a pool, in the spec or not."""
    previous = next((each for each in stack.status.pools if each.name == name), ComponentStatus())
    return _existing(stack, observed, Component.ASR, name, previous, elsewhere=elsewhere)


def pool_blueprint(stack: Stack, wanted: Pool, release: Release) -> Blueprint:
    """Return how a revision of a pool is made."""
    return Blueprint(
        replicas=wanted.replicas,
        capacity=wanted.slot_count,
        newest=newest(release, Component.ASR, wanted.engine),
        make=lambda rendering: asr.render(stack, wanted, rendering),
        services=lambda revision: (asr.service(stack, wanted, revision),),
        budget=lambda revision: asr.budget(stack, wanted, revision),
    )


def pool_names(stack: Stack, observed: Observed) -> list[str]:
    """Return the pools that there are, in the spec or not."""
    selectors = (_selector(manifest) for manifest in observed.objects.values() if manifest["kind"] == "Deployment")
    found = {each.get(LABEL_POOL) for each in selectors if each.get(LABEL_COMPONENT) == Component.ASR}
    return sorted({name for name in found if name} | {each.name for each in stack.status.pools})


def _existing(
    stack: Stack,
    observed: Observed,
    component: Component,
    pool: str | None,
    previous: ComponentStatus,
    *,
    elsewhere: int | None = 0,
) -> Existing:
    service = names.gateway(stack.name) if pool is None else names.pool(stack.name, pool)
    return Existing(
        label="gateways" if pool is None else f"pool {pool}",
        previous=previous,
        deployments=dict(_deployments(observed, component, pool)),
        pods=tuple(pod for pod in observed.pods if pod.component is component and pod.pool == pool),
        reports=observed.reports,
        selected=_selected(observed.objects.get(ObjectKey("v1", "Service", service))),
        elsewhere=elsewhere,
    )


def _deployments(observed: Observed, component: Component, pool: str | None) -> Iterator[tuple[str, Manifest]]:
    """Yield Deployments by revision. A Deployment's selector, unlike its labels, cannot be edited."""
    for manifest in observed.objects.values():
        if manifest["kind"] == "Deployment":
            selector = _selector(manifest)
            revision = selector.get(LABEL_REVISION)
            if revision and selector.get(LABEL_COMPONENT) == component and selector.get(LABEL_POOL) == pool:
                yield revision, manifest


def _selector(deployment: Manifest) -> Mapping[str, str]:
    found: Mapping[str, str] = deployment["spec"]["selector"].get("matchLabels") or {}
    return found


def _selected(service: Manifest | None) -> str | None:
    selector: Mapping[str, str] = {} if service is None else service["spec"].get("selector") or {}
    return selector.get(LABEL_REVISION)
