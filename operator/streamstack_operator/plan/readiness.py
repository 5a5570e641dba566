"""Accepted and Ready: what a person looks at first, and why not, with the cause before its consequences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from streamstack_operator.facts import ObjectKey, Problem
from streamstack_operator.names import Condition, Reason
from streamstack_operator.plan.availability import Availability
from streamstack_operator.plan.conditions import Finding, no, yes
from streamstack_operator.plan.progress import told

NOT_ACCEPTED: Final = frozenset({Reason.NAME_CLASH, Reason.FORBIDDEN, Reason.REFUSED})
"""Refusals that stay until a person changes the spec, the namespace or the operator's rights."""


def accepted(failures: Sequence[Problem]) -> Finding:
    """Return Accepted: whether the spec can be made into children."""
    refused = [failure for failure in failures if failure.reason in NOT_ACCEPTED]
    if refused:
        return no(Condition.ACCEPTED, refused[0].reason, told(refused))
    return yes(Condition.ACCEPTED, Reason.VALID, "the spec is accepted")


def ready(
    findings: Mapping[Condition, Finding],
    *,
    failures: Sequence[Problem],
    missing: Sequence[ObjectKey],
    proxies: Availability,
    balancer: Availability | None,
) -> Finding:
    """Return Ready: new sessions are admitted and recognised. What failed counts only where something is missing."""
    if failures and missing:
        return no(Condition.READY, failures[0].reason, told(failures))
    for problem in _problems(findings, proxies, balancer):
        return no(Condition.READY, problem[0], problem[1])
    messages = [findings[kind].message for kind in (Condition.GATEWAY_AVAILABLE, Condition.ASR_AVAILABLE)]
    return yes(Condition.READY, Reason.RUNNING, "; ".join(messages))


def _problems(
    findings: Mapping[Condition, Finding], proxies: Availability, balancer: Availability | None
) -> Iterator[tuple[str, str]]:
    license_valid, gateways = findings[Condition.LICENSE_VALID], findings[Condition.GATEWAY_AVAILABLE]
    if license_valid.fails:
        yield license_valid.reason, license_valid.message
    if gateways.fails and not proxies.ready and proxies.problem is not None:
        # Gateways that were never told of a license are not ready.
        yield proxies.reason, proxies.message
    for kind in (Condition.GATEWAY_AVAILABLE, Condition.ASR_AVAILABLE):
        if findings[kind].fails:
            yield findings[kind].reason, findings[kind].message
    if balancer is not None and not balancer.ready:
        yield balancer.reason, balancer.message
