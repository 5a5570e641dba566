"""What a chaos run must not have done to the bills (invariant "billed-once"): facts in, violations out.

Amounts are whole milliseconds of a session's sample clock; times are seconds of the run's own monotonic clock.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Rule(Enum):
    """What can be broken."""

    ABOVE = "billed above what the gateway can have accepted"
    UNACKNOWLEDGED = "billed below what was acknowledged"
    SHORT = "billed below what was accepted by a gateway that was not killed"
    SHORT_BY_MORE = "billed short by more than an interval of a killed gateway"
    OUTCOME = "its client ended it, and the ledger does not have that from its gateway"
    CUT = "a session was ended by something else than its client or the death of its gateway"
    UNKNOWN = "billed, and no client had it"
    MADE_UP = "recorded by a proxy, and no gateway reported it"
    REJECTED = "a gateway's report was rejected"
    LICENSE = "a session was refused for a license that is good all the time"
    CHAIN = "a journal's chain does not hold"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule, with the session (or journal) and the numbers."""

    rule: Rule
    subject: str
    numbers: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.rule.value}: {self.numbers}"


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client had sent in all at some moment."""

    at: float
    audio_ms: int


@dataclass(frozen=True, slots=True)
class Life:
    """One gateway process: when it was killed, None if it never was, and from when to when it was stopped before."""

    gateway: str
    killed_at: float | None = None
    stops: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """One session as its client knows it. ``said_goodbye``: it heard ``Termination``, so all it sent was accepted."""

    session_id: str
    life: Life
    sent: tuple[Sent, ...]
    said_goodbye: bool
    ending: str

    @property
    def sent_ms(self) -> int:
        """All of it."""
        return self.sent[-1].audio_ms if self.sent else 0


@dataclass(frozen=True, slots=True)
class Statement:
    """What a report says of a session."""

    session_id: str
    sequence: int
    audio_ms: int
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What the authority has of a session in the end."""

    audio_ms: int
    outcome: str | None = None
    closed_by: str | None = None


NOTHING = Bill(0)
ENDED_BY_CLIENT = ("terminated", "gateway")
"""Outcome and who closed: also where the authority had closed it before as an orphan."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a run leaves behind.

    Args:
        sessions: every session that a client had.
        reported: what gateways sent, be it acknowledged or not.
        acknowledged: per session, the highest amount that a proxy answered 200 to.
        rejected: reasons, per session.
        recorded: what proxies sent on to the authority.
        billed: per session, by the authority's API.
        license_refusals: what gateways said where they took no session because of the license.
        broken_chains: what is wrong with a journal, by its name.
        interval_seconds: of reports.
        slack_seconds: how long a report may take from the moment it is due to the disk, on a loaded machine.

    """

    sessions: tuple[Session, ...]
    reported: frozenset[Statement]
    acknowledged: Mapping[str, int]
    rejected: Mapping[str, str]
    recorded: frozenset[Statement]
    billed: Mapping[str, Bill]
    license_refusals: tuple[str, ...]
    broken_chains: Mapping[str, str]
    interval_seconds: float
    slack_seconds: float


def judge(facts: Facts) -> tuple[Violation, ...]:
    """Find every broken rule."""
    return (*_bills(facts), *_strangers(facts), *_made_up(facts), *_refusals(facts))


def ran_since(life: Life, seconds: float) -> float:
    """When a killed gateway had ``seconds`` of running left; what it was stopped for is no running."""
    if life.killed_at is None:
        raise ValueError(f"{life.gateway} was not killed")
    at, left = life.killed_at, seconds
    for start, end in sorted(life.stops, reverse=True):
        ran = max(0.0, at - end)
        if ran >= left:
            break
        left -= ran
        at = min(at, start)
    return at - left


def sent_by(sent: Sequence[Sent], moment: float) -> int:
    """How much a client had sent at a moment."""
    count = bisect_right(sent, moment, key=lambda piece: piece.at)
    return sent[count - 1].audio_ms if count else 0


def least(session: Session, facts: Facts) -> int:
    """The least that may be billed for a session of which nothing was acknowledged.

    All of it where its gateway lived. A gateway that is killed has reported, and has on a proxy's disk or its own,
    what it had accepted when the last full interval before its end began; that is at least what the client had sent by
    then, but for what was still under way in sockets, which the slack covers together with the way to the disk.
    """
    if session.life.killed_at is None:
        return session.sent_ms
    return sent_by(session.sent, ran_since(session.life, facts.interval_seconds + facts.slack_seconds))


def _bills(facts: Facts) -> Iterator[Violation]:
    for session in facts.sessions:
        name, killed = session.session_id, session.life.killed_at is not None
        bill, sent = facts.billed.get(name, NOTHING), session.sent_ms
        billed = bill.audio_ms
        acknowledged, floor = facts.acknowledged.get(name, 0), least(session, facts)
        numbers = (
            f"acknowledged {acknowledged}, at least {floor}, billed {billed}, accepted at most {sent} ms"
            f" ({session.life.gateway}{', killed' if killed else ''}; {session.ending})"
        )
        if not killed and not session.said_goodbye:
            yield Violation(Rule.CUT, name, numbers)
        if not killed and session.said_goodbye and (bill.outcome, bill.closed_by) != ENDED_BY_CLIENT:
            yield Violation(Rule.OUTCOME, name, f"{bill.outcome}, closed by {bill.closed_by}; {numbers}")
        if billed > sent:
            yield Violation(Rule.ABOVE, name, numbers)
        if billed < acknowledged:
            yield Violation(Rule.UNACKNOWLEDGED, name, numbers)
        if billed < floor and (killed or session.said_goodbye):
            yield Violation(Rule.SHORT_BY_MORE if killed else Rule.SHORT, name, numbers)


def _strangers(facts: Facts) -> Iterator[Violation]:
    """A client whose gateway dies before it hears ``Begin`` knows no session, but has sent nothing either."""
    known = {session.session_id for session in facts.sessions}
    for name, bill in facts.billed.items():
        if name not in known and bill.audio_ms > 0:
            yield Violation(Rule.UNKNOWN, name, f"billed {bill.audio_ms} ms")


def _made_up(facts: Facts) -> Iterator[Violation]:
    for statement in sorted(facts.recorded - facts.reported, key=lambda it: (it.session_id, it.sequence)):
        numbers = f"report {statement.sequence}: {statement.audio_ms} ms, outcome {statement.outcome}"
        yield Violation(Rule.MADE_UP, statement.session_id, numbers)


def _refusals(facts: Facts) -> Iterator[Violation]:
    for name, reason in facts.rejected.items():
        yield Violation(Rule.REJECTED, name, reason)
    for refusal in facts.license_refusals:
        yield Violation(Rule.LICENSE, "license", refusal)
    for name, problem in facts.broken_chains.items():
        yield Violation(Rule.CHAIN, name, problem)
