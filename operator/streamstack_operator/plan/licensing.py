"""What the license proxies say, and whether new sessions are admitted by it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_operator.facts import Observed, PodFacts, ProxyFacts, Stack
from streamstack_operator.model.license import License
from streamstack_operator.model.status import LicenseReport as Told
from streamstack_operator.names import Component, Condition, Reason
from streamstack_operator.plan import moments
from streamstack_operator.plan.availability import Availability, availability
from streamstack_operator.plan.conditions import Finding, no, unknown, yes

UNKNOWN: Final = "Unknown"
"""The state while no proxy answers."""

TRUST: Final = (LicenseState.FAILED, LicenseState.TRUST_BASED, LicenseState.READY, LicenseState.CONNECTED)
"""Of several proxies the best one speaks: a later state in this order counts more.

The worst would raise an alarm for a stack that admits sessions: a gateway believes whichever proxy answers it, and one
replica that lost its way to the authority changes nothing while another has it. It is named beside the best.
"""

EXPIRING: Final = timedelta(days=30)
"""How long before its end a license is said to end soon: a new one has to be bought."""

LONGEST_NAME: Final = 256
"""Of a customer or a license, as licenses have it."""


def proxies(stack: Stack, observed: Observed) -> Availability:
    """Return how available the license proxies are."""
    about = "license-proxy"
    return availability(
        "license proxy", pods(observed), wanted=stack.spec.license.replicas, failures=observed.failures, about=about
    )


def pods(observed: Observed) -> list[PodFacts]:
    """Return the proxies' pods, those that are going included."""
    return [pod for pod in observed.pods if pod.component is Component.LICENSE]


def best(observed: Observed) -> LicenseReport | None:
    """Return what the best proxy says, None while none answers.

    Gateways come to those that are ready: what others say counts only where no ready one says anything.
    """
    said = list(_said(observed))
    heard = [report for pod, report in said if pod.ready] or [report for _, report in said]
    return max(heard, key=_rank, default=None)


def report(stack: Stack, observed: Observed, found: Availability) -> Told:
    """Return the license's part of the status, without the backlog. What it is stays known while nobody answers."""
    said, before = best(observed), stack.status.license
    if said is None:
        kept = {"customer", "license_id", "billing", "expires_at"}
        return Told(state=UNKNOWN, ready=found.text, **before.model_dump(include=kept))
    return Told(
        state=said.state.value,
        customer=_shortened(said.customer),
        license_id=_shortened(said.license_id),
        billing=said.billing,
        expires_at=_text(said.expires_at),
        last_successful_checkin=_text(said.last_successful_checkin),
        trust_expiration=_text(said.trust_expiration),
        extra_keys=any(facts.extra_keys for facts in observed.proxies.values()),
        ready=found.text,
    )


def valid(stack: Stack, observed: Observed, found: Availability, *, now: datetime) -> Finding:
    """Return LicenseValid; its reason is the license's state where there is one."""
    wanted, kind = stack.spec.license, Condition.LICENSE_VALID
    missing = next((name for name in _commands(wanted) if name in observed.missing_secrets), None)
    if missing is not None:
        what, command = _commands(wanted)[missing]
        return no(
            kind,
            Reason.LICENSE_SECRET_MISSING,
            f"there is no Secret {missing}; make it with {what}: "
            f"kubectl --namespace {stack.namespace} create secret {command}",
        )
    said = best(observed)
    if said is None:
        return unknown(kind, Reason.LICENSE_UNKNOWN, f"no license proxy answers; {found.message}")
    others = _others(observed, said)
    if said.state is LicenseState.FAILED:
        return no(
            kind,
            Reason.LICENSE_FAILED,
            "the license does not hold, so no new session is admitted and live ones finish: "
            f"{_why(stack, observed, said)}; "
            f"a new license goes under the key {wanted.key} of Secret {wanted.secret_name}{others}",
        )
    reason, message = _holds(said, wanted, now=now)
    return yes(kind, reason, message + others)


def _holds(said: LicenseReport, wanted: License, *, now: datetime) -> tuple[Reason, str]:
    """Return the reason and the message of a license that holds: what a person has to do something about first."""
    ends = "" if said.expires_at is None else f", until {moments.text(said.expires_at)}"
    left = None if said.expires_at is None else said.expires_at - now
    soon = left is not None and left <= EXPIRING
    renewal = f"; a new one goes under the key {wanted.key} of Secret {wanted.secret_name}" if soon else ""
    if said.state is LicenseState.TRUST_BASED:
        trusted = "" if said.trust_expiration is None else f" until {moments.text(said.trust_expiration)}"
        return Reason.LICENSE_TRUST_BASED, (
            f"the license authority does not answer; the license is trusted{trusted}, and no new session is admitted "
            f"after that: see why the proxies do not reach it{renewal}"
        )
    if left is not None and soon:
        days = "within a day" if left < timedelta(days=1) else f"in {left.days} days"
        return Reason.LICENSE_EXPIRING_SOON, f"the license holds and ends {days}{ends.replace('until', 'at')}{renewal}"
    if said.offline:
        return Reason.LICENSE_OFFLINE, f"the license holds by its signature and dates alone{ends}"
    if said.state is LicenseState.CONNECTED:
        return Reason.LICENSE_CONNECTED, f"the license holds{ends}"
    return Reason.LICENSE_READY, f"the license holds{ends}; no check-in with its authority was made yet"


def _why(stack: Stack, observed: Observed, said: LicenseReport) -> str:
    """What the proxy says is wrong, or where it says so."""
    if said.cause is not None:
        return said.cause if said.reason is None else f"{said.cause}: {said.reason}"
    pod = next((pod.name for pod in pods(observed) if pod.ready), f"statefulset/{stack.name}-license-proxy")
    return f"its proxy says why: kubectl --namespace {stack.namespace} logs {pod}"


def _others(observed: Observed, said: LicenseReport) -> str:
    """Name the proxies that gateways may come to and that say worse than the best."""
    worse = [
        f"{pod.name} says {report.state.value}" + (f" ({report.cause})" if report.cause else "")
        for pod, report in _said(observed)
        if pod.ready and TRUST.index(report.state) < TRUST.index(said.state)
    ]
    return f"; but {', '.join(worse)}" if worse else ""


def _commands(wanted: License) -> dict[str, tuple[str, str]]:
    """Return the Secrets that proxies need: what is in each, and how it is made."""
    keys = [key for key in (wanted.key, wanted.extra_keys_key, wanted.usage_api_key_key) if key is not None]
    files = " ".join(f"--from-file={key}=FILE" for key in dict.fromkeys(keys))
    told = {wanted.secret_name: (f"the license under the key {wanted.key}", f"generic {wanted.secret_name} {files}")}
    authority = wanted.authority
    if (ca := authority.ca_secret_name) is not None:
        what = f"the authority's certificates under the key {authority.ca_key}"
        told.setdefault(ca, (what, f"generic {ca} --from-file={authority.ca_key}=FILE"))
    if (client := authority.client_certificate_secret_name) is not None:
        what = "the certificate that proxies show to the authority"
        told.setdefault(client, (what, f"tls {client} --cert=FILE --key=FILE"))
    return told


def _said(observed: Observed) -> Iterator[tuple[PodFacts, LicenseReport]]:
    for pod in pods(observed):
        facts = observed.proxies.get(pod.uid, ProxyFacts())
        if facts.license is not None:
            yield pod, facts.license


def _rank(said: LicenseReport) -> tuple[int, float]:
    checkin = said.last_successful_checkin
    return TRUST.index(said.state), 0.0 if checkin is None else checkin.timestamp()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moments.text(moment)


def _shortened(name: str | None) -> str | None:
    return None if name is None else name[:LONGEST_NAME]
