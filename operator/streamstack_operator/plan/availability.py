"""How many pods serve and what keeps the others from it, told of gateways, pools, license proxy and balancer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from streamstack_operator.facts import PodFacts, Problem
from streamstack_operator.names import Condition, Reason
from streamstack_operator.plan.conditions import Finding, no, yes

GRAVITY: Final = (
    Reason.UNSCHEDULABLE,
    Reason.IMAGE_UNAVAILABLE,
    Reason.VOLUME_MISSING,
    Reason.CRASHING,
    Reason.QUOTA,
    Reason.REFUSED,
)
"""Most telling first: what a person has to do something about, before what may be its consequence."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Pods of one kind: ready, wanted, and the gravest problem among those that are not ready."""

    label: str
    ready: int
    wanted: int
    problem: Problem | None = None

    @property
    def text(self) -> str:
        """Ready and wanted, as ``kubectl`` shows it."""
        return f"{self.ready}/{self.wanted}"

    @property
    def reason(self) -> str:
        """Why not all are ready."""
        return Reason.STARTING if self.problem is None else self.problem.reason

    @property
    def message(self) -> str:
        """How many are ready, and why not all."""
        said = f"{self.label}: {self.ready} of {self.wanted} ready"
        if self.ready >= self.wanted:
            return said
        return f"{said}; {'starting' if self.problem is None else self.problem.message}"


def availability(
    label: str, pods: Iterable[PodFacts], *, wanted: int, failures: Sequence[Problem] = (), about: str = ""
) -> Availability:
    """Return how available these pods are; of ``failures`` those count whose message names ``about``."""
    living = [pod for pod in pods if not pod.terminating]
    problems = [pod.problem for pod in living if pod.problem is not None and not pod.ready]
    problems += [failure for failure in failures if about and about in failure.message]
    worst = min(problems, key=lambda each: (_gravity(each.reason), each.message), default=None)
    return Availability(label, sum(pod.ready for pod in living), wanted, worst)


def of_revision(
    label: str, pods: Iterable[PodFacts], revision: str | None, *, wanted: int, failures: Sequence[Problem] = ()
) -> Availability:
    """Return how available one revision's pods are."""
    of_it = [pod for pod in pods if pod.revision == revision]
    return availability(label, of_it, wanted=wanted, failures=failures, about=revision or "")


def gateways(found: Availability) -> Finding:
    """Return GatewayAvailable: True while new sessions are served at all."""
    if found.ready:
        return yes(Condition.GATEWAY_AVAILABLE, Reason.AVAILABLE, found.message)
    return no(Condition.GATEWAY_AVAILABLE, found.reason, found.message)


def pools(found: Sequence[Availability]) -> Finding:
    """Return ASRAvailable: True while every pool serves."""
    missing = [each for each in found if not each.ready]
    if missing:
        worst = min(missing, key=lambda each: _gravity(each.reason))
        told = [worst, *(each for each in missing if each is not worst)]
        return no(Condition.ASR_AVAILABLE, worst.reason, "; ".join(each.message for each in told))
    return yes(Condition.ASR_AVAILABLE, Reason.AVAILABLE, "; ".join(each.message for each in found))


def _gravity(reason: str) -> int:
    return GRAVITY.index(Reason(reason)) if reason in GRAVITY else len(GRAVITY)
