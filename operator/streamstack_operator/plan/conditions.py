"""Conditions as KEP-1623 has them: their time is that of the last change of ``status``, and of nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streamstack_operator.model.status import ConditionStatus, StackCondition
from streamstack_operator.names import Condition
from streamstack_operator.plan import moments

LONGEST_MESSAGE: Final = 2048
"""As the schema of the status has it."""

ORDER: Final = {kind: number for number, kind in enumerate(Condition)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found of one condition, before it is compared with what was said last."""

    type: Condition
    status: ConditionStatus
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return self.status is ConditionStatus.TRUE

    @property
    def fails(self) -> bool:
        """Whether it is certainly not so."""
        return self.status is ConditionStatus.FALSE


def yes(kind: Condition, reason: str, message: str) -> Finding:
    """Return that a condition holds."""
    return Finding(kind, ConditionStatus.TRUE, reason, message)


def no(kind: Condition, reason: str, message: str) -> Finding:
    """Return that a condition does not hold."""
    return Finding(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: Condition, reason: str, message: str) -> Finding:
    """Return that nobody can say whether a condition holds."""
    return Finding(kind, ConditionStatus.UNKNOWN, reason, message)


def conditions(
    previous: Iterable[StackCondition], findings: Iterable[Finding], *, generation: int, now: datetime
) -> list[StackCondition]:
    """Return conditions with these findings in them, Ready first; those that nothing was found of stay as they are."""
    known = {condition.type: condition for condition in previous}
    for finding in findings:
        known[finding.type] = _condition(known.get(finding.type), finding, generation=generation, now=now)
    return sorted(known.values(), key=lambda each: (ORDER.get(Condition(each.type), 0), each.type))


def find(among: Iterable[StackCondition], kind: Condition) -> StackCondition | None:
    """Return a condition by its type."""
    return next((condition for condition in among if condition.type == kind), None)


def _condition(before: StackCondition | None, finding: Finding, *, generation: int, now: datetime) -> StackCondition:
    changed = before is None or before.status is not finding.status
    return StackCondition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=_shortened(finding.message),
        last_transition_time=moments.text(now) if before is None or changed else before.last_transition_time,
        observed_generation=generation,
    )


def _shortened(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"
