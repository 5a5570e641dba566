"""A run that could not fail would show nothing: with one thing wrong in one piece, it does."""

from pathlib import Path

import pytest

from support.chaos import CAST, Outcome, Scenario, chaos
from support.chaos_judge import Rule
from support.faults import Fault, Planned
from support.relay import Trouble

SEED = 20_261_121
RECOGNIZERS_DIE = tuple(
    Planned(4.0 + 3 * index, name, Fault.KILLED, 0.5) for index, name in enumerate(CAST.recognizers)
)
REPORTS_COME_TWICE = tuple(Planned(3.0, line, Trouble.TWICE, 6.0) for line in CAST.reporting_lines)


GATEWAYS_DIE = tuple(Planned(8.0, name, Fault.KILLED, 0.5) for name in CAST.gateways)


async def short_run(folder: Path, faults: tuple[Planned, ...], every: float = 2.0, **modules: str) -> Outcome:
    scenario = Scenario(
        sessions=20,
        seconds=14.0,
        longest_seconds=10.0,
        faults=faults,
        modules=modules,
        reports_every_seconds=every,
        seed=SEED,
    )
    return await chaos(folder, scenario)


def broken(outcome: Outcome) -> set[Rule]:
    return {violation.rule for violation in outcome.violations}


@pytest.mark.timeout(300)
async def test_with_nothing_wrong_a_short_run_breaks_nothing(tmp_path: Path) -> None:
    outcome = await short_run(tmp_path, (*RECOGNIZERS_DIE, *REPORTS_COME_TWICE))
    assert outcome.violations == (), outcome.story
    assert len(outcome.facts.sessions) == 20


@pytest.mark.timeout(300)
async def test_an_authority_that_applies_a_report_twice_is_found(tmp_path: Path) -> None:
    outcome = await short_run(tmp_path, REPORTS_COME_TWICE, streamstack_license_authority="support.mutants_authority")
    assert Rule.ABOVE in broken(outcome)


@pytest.mark.timeout(300)
async def test_a_proxy_that_closes_orphans_is_found(tmp_path: Path) -> None:
    outcome = await short_run(tmp_path, (), streamstack_license_proxy="support.mutants_proxy")
    assert {Rule.UNACKNOWLEDGED, Rule.MADE_UP} <= broken(outcome)


@pytest.mark.timeout(300)
async def test_a_gateway_that_counts_replayed_audio_is_found(tmp_path: Path) -> None:
    outcome = await short_run(tmp_path, RECOGNIZERS_DIE, streamstack_gateway="support.mutants_gateway")
    assert Rule.ABOVE in broken(outcome)


@pytest.mark.timeout(300)
async def test_gateways_that_report_too_seldom_are_found(tmp_path: Path) -> None:
    outcome = await short_run(tmp_path, GATEWAYS_DIE, every=30.0)
    assert broken(outcome) == {Rule.SHORT_BY_MORE}
