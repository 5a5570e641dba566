"""What breaks "billed-once" is found, each in its way, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.chaos_judge import Bill, Facts, Life, Rule, Sent, Session, Statement, judge, least, ran_since, sent_by

LIVES = Life("gateway-0")
KILLED = Life("gateway-1", killed_at=100.0)
NAME = "a-session"


def second_by_second(begin: int, end: int) -> tuple[Sent, ...]:
    return tuple(Sent(float(at), (at - begin) * 1000) for at in range(begin, end + 1))


def session(life: Life = LIVES, *, begin: int = 90, end: int = 100, said_goodbye: bool = True) -> Session:
    return Session(NAME, life, second_by_second(begin, end), said_goodbye, "Termination")


def facts(*sessions: Session, billed: dict[str, int], **more: Any) -> Facts:
    nothing = Facts(
        sessions=sessions,
        reported=frozenset(),
        acknowledged={},
        rejected={},
        recorded=frozenset(),
        billed={name: Bill(audio_ms, "terminated", "gateway") for name, audio_ms in billed.items()},
        license_refusals=(),
        broken_chains={},
        interval_seconds=2.0,
        slack_seconds=1.0,
    )
    return replace(nothing, **more)


def broken(found: Facts) -> list[Rule]:
    return [violation.rule for violation in judge(found)]


def test_a_session_of_a_gateway_that_lived_is_billed_to_the_millisecond() -> None:
    assert broken(facts(session(), billed={NAME: 10_000})) == []
    assert broken(facts(session(), billed={NAME: 9_999})) == [Rule.SHORT]
    assert broken(facts(session(), billed={NAME: 10_001})) == [Rule.ABOVE]
    assert broken(facts(session(), billed={})) == [Rule.OUTCOME, Rule.SHORT]


def test_a_killed_gateway_may_owe_one_interval_and_what_was_under_way() -> None:
    lost = session(KILLED, said_goodbye=False)
    assert broken(facts(lost, billed={NAME: 10_000})) == []
    assert broken(facts(lost, billed={NAME: 7_000})) == []
    assert broken(facts(lost, billed={NAME: 6_999})) == [Rule.SHORT_BY_MORE]
    assert broken(facts(lost, billed={NAME: 10_001})) == [Rule.ABOVE]


def test_a_session_that_ended_long_before_its_gateway_was_killed_is_billed_whole() -> None:
    early = session(KILLED, begin=80, end=90)
    assert broken(facts(early, billed={NAME: 9_999})) == [Rule.SHORT_BY_MORE]
    assert broken(facts(early, billed={NAME: 10_000})) == []


def test_a_session_younger_than_an_interval_may_be_unknown_where_its_gateway_was_killed() -> None:
    assert broken(facts(session(KILLED, begin=98, said_goodbye=False), billed={})) == []


def test_what_was_acknowledged_is_billed_whatever_was_killed() -> None:
    lost = session(KILLED, said_goodbye=False)
    assert broken(facts(lost, billed={NAME: 8_000}, acknowledged={NAME: 8_001})) == [Rule.UNACKNOWLEDGED]
    assert broken(facts(lost, billed={NAME: 8_000}, acknowledged={NAME: 8_000})) == []


def test_a_session_that_ends_otherwise_was_cut() -> None:
    assert broken(facts(session(said_goodbye=False), billed={NAME: 10_000})) == [Rule.CUT]


@pytest.mark.parametrize(
    "bill", [Bill(10_000), Bill(10_000, None, "authority"), Bill(10_000, "client_gone", "gateway")]
)
def test_an_end_that_its_gateway_told_is_the_ledger_s_whoever_had_closed_the_session_before(bill: Bill) -> None:
    assert broken(replace(facts(session(), billed={}), billed={NAME: bill})) == [Rule.OUTCOME]
    assert broken(replace(facts(session(KILLED), billed={}), billed={NAME: bill})) == []


def test_bills_without_a_client_are_found_unless_they_are_empty() -> None:
    assert broken(facts(billed={"stranger": 1})) == [Rule.UNKNOWN]
    assert broken(facts(billed={"unheard": 0})) == []


def test_a_record_that_no_gateway_reported_was_made_up() -> None:
    said = Statement(NAME, 3, 1000, None)
    closed = replace(said, outcome="orphaned")
    assert broken(facts(billed={}, reported=frozenset({said}), recorded=frozenset({said}))) == []
    assert broken(facts(billed={}, reported=frozenset({said}), recorded=frozenset({said, closed}))) == [Rule.MADE_UP]


def test_rejections_and_broken_chains_are_violations() -> None:
    found = judge(facts(billed={}, rejected={NAME: "no sense"}, broken_chains={"journal": "record 2"}))
    assert [violation.rule for violation in found] == [Rule.REJECTED, Rule.CHAIN]
    assert "a-session" in str(found[0])
    assert "no sense" in str(found[0])


def test_a_good_license_refuses_nobody() -> None:
    found = facts(billed={}, license_refusals=("gateway-0: 1008 no license",))
    assert broken(found) == [Rule.LICENSE]


def test_a_violation_names_the_session_and_its_numbers() -> None:
    (found,) = judge(facts(session(), billed={NAME: 11_000}, acknowledged={NAME: 4_000}))
    assert str(found) == (
        "a-session: billed above what the gateway can have accepted: acknowledged 4000, at least 10000, "
        "billed 11000, accepted at most 10000 ms (gateway-0; Termination)"
    )


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ((), 97.0),
        (((50.0, 60.0),), 97.0),
        (((95.0, 99.0),), 93.0),
        (((90.0, 94.0), (95.0, 99.0)), 89.0),
        (((95.0, 100.0),), 92.0),
        (((90.0, 97.0),), 97.0),
    ],
)
def test_what_a_gateway_was_stopped_for_is_no_part_of_its_last_interval(
    stops: tuple[tuple[float, float], ...], expected: float
) -> None:
    assert ran_since(replace(KILLED, stops=stops), 3.0) == expected


def test_only_a_killed_gateway_has_a_last_interval() -> None:
    with pytest.raises(ValueError, match="gateway-0 was not killed"):
        ran_since(LIVES, 1.0)


def test_what_was_sent_at_a_moment_is_what_was_sent_until_then() -> None:
    sent = second_by_second(10, 12)
    assert [sent_by(sent, moment) for moment in (9.9, 10.0, 10.9, 11.0, 99.0)] == [0, 0, 0, 1000, 2000]


stops = st.lists(st.floats(0, 100), max_size=6).map(
    lambda moments: tuple(zip(sorted(moments)[::2], sorted(moments)[1::2], strict=False))
)


@settings(deadline=None)
@given(stops, st.floats(0, 50), st.floats(0, 50))
def test_a_longer_interval_begins_no_later_and_forgives_no_less(
    stopped: tuple[tuple[float, float], ...], one: float, other: float
) -> None:
    life = replace(KILLED, stops=stopped)
    shorter, longer = sorted((one, other))
    assert ran_since(life, longer) <= ran_since(life, shorter) <= 100.0
    lost = session(life, said_goodbye=False)
    forgiving = facts(lost, billed={}, interval_seconds=longer, slack_seconds=0.0)
    assert least(lost, forgiving) <= least(lost, replace(forgiving, interval_seconds=shorter)) <= lost.sent_ms


@settings(deadline=None)
@given(stops, st.floats(0.1, 50))
def test_the_last_interval_has_as_much_running_time_as_it_is_long(
    stopped: tuple[tuple[float, float], ...], seconds: float
) -> None:
    since = ran_since(replace(KILLED, stops=stopped), seconds)
    standing_still = sum(max(0.0, end - max(begin, since)) for begin, end in stopped)
    assert 100.0 - since - standing_still == pytest.approx(seconds)
