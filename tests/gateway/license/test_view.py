from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_gateway.license.view import DEFAULT_TRUST, LicenseView, Terms, Told

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
GOOD = [LicenseState.READY, LicenseState.CONNECTED, LicenseState.TRUST_BASED]


def report(state: LicenseState, trust_expiration: datetime | None = None) -> LicenseReport:
    return LicenseReport(state=state, trust_expiration=trust_expiration)


def test_a_gateway_that_was_never_told_admits_nobody() -> None:
    assert LicenseView().admits(NOW) == "the license proxy was never reached"
    assert LicenseView().unreachable().admits(NOW) is not None


@pytest.mark.parametrize("state", GOOD)
def test_every_state_but_failed_admits(state: LicenseState) -> None:
    assert LicenseView().heard(report(state), NOW).admits(NOW) is None


def test_failed_closes_and_stays_closed_while_unreachable() -> None:
    view = LicenseView().heard(report(LicenseState.FAILED), NOW)
    for later in (view, view.unreachable(), view.unreachable().unreachable()):
        assert later.admits(NOW) == "the license proxy says that the license is Failed"


@pytest.mark.parametrize("state", GOOD)
def test_unreachable_keeps_the_last_state_until_the_named_end_of_trust(state: LicenseState) -> None:
    end = NOW + timedelta(hours=1)
    view = LicenseView().heard(report(state, end), NOW).unreachable()
    assert view.admits(end - TICK) is None
    assert view.admits(end) == f"the license proxy is unreachable and its word {state} is trusted no longer"


@pytest.mark.parametrize("state", GOOD)
def test_without_a_named_end_trust_lasts_four_days_from_the_last_contact(state: LicenseState) -> None:
    view = LicenseView().heard(report(state), NOW - timedelta(days=9)).heard(report(state), NOW).unreachable()
    assert timedelta(days=4) == DEFAULT_TRUST
    assert view.admits(NOW + DEFAULT_TRUST - TICK) is None
    assert view.admits(NOW + DEFAULT_TRUST) is not None


def test_a_proxy_that_answers_is_believed_over_our_own_clock() -> None:
    view = LicenseView().heard(report(LicenseState.CONNECTED, NOW - timedelta(days=1)), NOW)
    assert view.admits(NOW) is None
    assert view.unreachable().admits(NOW) is not None


def test_contact_after_the_end_of_trust_admits_again() -> None:
    late = NOW + timedelta(days=30)
    view = LicenseView().heard(report(LicenseState.READY), NOW).unreachable()
    assert view.admits(late) is not None
    assert view.heard(report(LicenseState.READY), late).admits(late) is None


def test_the_terms_of_an_authentic_license_replace_the_last_ones_and_none_does_not() -> None:
    view = LicenseView()
    assert view.terms == Terms()
    usage = LicenseReport(state=LicenseState.READY, billing="usage", max_sessions=5, models=("english",))
    view = view.heard(usage, NOW)
    assert view.terms == Terms("usage", 5, ("english",))
    assert view.heard(report(LicenseState.FAILED), NOW).unreachable().terms == Terms("usage", 5, ("english",))
    unlimited = LicenseReport(state=LicenseState.READY, billing="flat", models=("*",))
    assert view.heard(unlimited, NOW).terms == Terms("flat", None, ("*",))


MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(st.sampled_from(LicenseState), st.none() | MOMENTS, MOMENTS, MOMENTS, st.timedeltas(timedelta(0)))
def test_no_moment_and_no_window_breaks_the_judgement(
    state: LicenseState, end: datetime | None, heard_at: datetime, now: datetime, window: timedelta
) -> None:
    refusal = LicenseView(window, Told(state, end, heard_at)).admits(now)
    assert refusal is not None or state is not LicenseState.FAILED


class LicenseLife(RuleBasedStateMachine):
    """A gateway's life against a plain account of what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.view = LicenseView()
        self.last: LicenseState | None = None
        self.trusted_until = NOW
        self.answers = False

    @rule(state=st.sampled_from(LicenseState), trust=st.none() | st.timedeltas(-DEFAULT_TRUST, 2 * DEFAULT_TRUST))
    def the_proxy_answers(self, state: LicenseState, trust: timedelta | None) -> None:
        end = None if trust is None else self.now + trust
        self.view = self.view.heard(report(state, end), self.now)
        self.last, self.answers = state, True
        self.trusted_until = self.now + DEFAULT_TRUST if end is None else end

    @rule()
    def the_proxy_does_not_answer(self) -> None:
        self.view, self.answers = self.view.unreachable(), False

    @rule(step=st.timedeltas(-DEFAULT_TRUST, 2 * DEFAULT_TRUST))
    def the_clock_jumps(self, step: timedelta) -> None:
        self.now += step

    @rule()
    def the_gateway_restarts_with_its_memory(self) -> None:
        self.view, self.answers = LicenseView(told=self.view.told), False

    @rule()
    def the_gateway_restarts_without_memory(self) -> None:
        self.view, self.answers, self.last = LicenseView(), False, None

    @invariant()
    def admission_follows_the_rules(self) -> None:
        admitted = self.view.admits(self.now) is None
        if self.last is None or self.last is LicenseState.FAILED:
            assert not admitted
        else:
            assert admitted == (self.answers or self.now < self.trusted_until)

    @invariant()
    def losing_contact_alone_never_changes_the_state(self) -> None:
        assert self.view.unreachable() == replace(self.view, reachable=False)
        assert self.view.state is self.last


TestLicenseLife = LicenseLife.TestCase
