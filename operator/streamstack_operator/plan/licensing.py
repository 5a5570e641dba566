"""What the license proxy says, and whether new sessions are admitted by it."""

from collections.abc import Sequence

from streamstack_common.license_status import LicenseState, LicenseStatus
from streamstack_operator.facts import Observed, PodFacts, Stack
from streamstack_operator.model.status import LicenseReport
from streamstack_operator.names import Component, Condition, Reason
from streamstack_operator.plan import moments
from streamstack_operator.plan.availability import Availability, availability
from streamstack_operator.plan.conditions import Finding, no, unknown, yes

UNKNOWN = "Unknown"
"""The state while no proxy answers."""


def proxies(stack: Stack, observed: Observed) -> Availability:
    """Return how available the license proxies are."""
    pods = [pod for pod in observed.pods if pod.component is Component.LICENSE]
    about = "license-proxy"
    return availability(
        "license proxy", pods, wanted=stack.spec.license.replicas, failures=observed.failures, about=about
    )


def report(said: LicenseStatus | None, found: Availability) -> LicenseReport:
    """Return the license's part of the status."""
    if said is None:
        return LicenseReport(state=UNKNOWN, ready=found.text)
    checkin, trust = said.last_successful_checkin, said.trust_expiration
    return LicenseReport(
        state=said.state.value,
        last_successful_checkin=None if checkin is None else moments.text(checkin),
        trust_expiration=None if trust is None else moments.text(trust),
        extra_keys=said.extra_keys,
        ready=found.text,
    )


def valid(stack: Stack, observed: Observed, found: Availability) -> Finding:
    """Return LicenseValid; its reason is the license's state where there is one."""
    wanted, kind = stack.spec.license, Condition.LICENSE_VALID
    if wanted.secret_name in observed.missing_secrets:
        keys = [key for key in (wanted.key, wanted.extra_keys_key) if key is not None]
        command = f"kubectl --namespace {stack.namespace} create secret generic {wanted.secret_name}"
        return no(
            kind,
            Reason.LICENSE_SECRET_MISSING,
            f"there is no Secret {wanted.secret_name}; make it with the license under the key {wanted.key}: "
            f"{command} {' '.join(f'--from-file={key}=FILE' for key in keys)}",
        )
    if observed.license is None:
        return unknown(kind, Reason.LICENSE_UNKNOWN, f"no license proxy answers; {found.message}")
    if observed.license.state is LicenseState.FAILED:
        return no(
            kind,
            Reason.LICENSE_FAILED,
            "the license does not hold, so no new session is admitted and live ones finish; "
            f"{_why(stack, observed.pods)}; "
            f"a new license goes under the key {wanted.key} of Secret {wanted.secret_name}",
        )
    return yes(kind, observed.license.state.value, _holds(observed.license))


def _holds(said: LicenseStatus) -> str:
    if said.state is LicenseState.TRUST_BASED and said.trust_expiration is not None:
        until = moments.text(said.trust_expiration)
        return f"the license authority does not answer; the license is trusted until {until}"
    return "the license holds"


def _why(stack: Stack, pods: Sequence[PodFacts]) -> str:
    pod = next((pod.name for pod in pods if pod.component is Component.LICENSE and pod.ready), None)
    target = pod or f"statefulset/{stack.name}-license-proxy"
    return f"its proxy says why: kubectl --namespace {stack.namespace} logs {target}"
