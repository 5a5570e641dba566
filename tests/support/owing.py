"""Stacks whose license proxies owe the authority usage."""

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_common.usage import UsageBacklog
from streamstack_operator.facts import ObjectKey, Plan
from streamstack_operator.names import Component
from support.simulated import SimPod, Simulated, spec

SET = ObjectKey("apps/v1", "StatefulSet", "demo-license-proxy")
EMPTY = UsageBacklog(journal_id="0" * 32)


def owes(records: int, seconds: float = 5.0) -> UsageBacklog:
    """A journal with so many records that the authority does not have."""
    return UsageBacklog(journal_id="0" * 32, records=records, oldest_seconds=seconds)


def running(replicas: int = 1, *, billing: str = "usage", **license_: object) -> Simulated:
    """A stack that runs, all its proxies telling the same."""
    it = Simulated(spec(license={"secretName": "license", "replicas": replicas} | license_))
    it.license = LicenseReport.model_validate({"state": LicenseState.CONNECTED, "billing": billing})
    it.settle()
    return it


def fewer(it: Simulated, replicas: int) -> None:
    """Ask for so many proxies."""
    it.change(license={"secretName": "license", "replicas": replicas})


def proxies(it: Simulated) -> list[SimPod]:
    """The proxies' pods, by ordinal."""
    return it.of(Component.LICENSE)


def replicas(it: Simulated) -> int:
    """How many proxies the StatefulSet is told to have."""
    return int(it.objects[SET]["spec"]["replicas"])


def told(planned: Plan) -> list[tuple[str, str]]:
    """Type and reason of a plan's Events."""
    return [(str(event.type), str(event.reason)) for event in planned.events]
