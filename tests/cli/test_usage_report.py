"""``streamstack usage report``: what a real license authority bills."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main
from streamstack_cli.usage_reports import DayTotal, Report, summed, table
from support.authority_process import AuthorityProcess, authority_process
from support.cli import Ran, streamstack
from support.usage_journal import STARTED_AT, UsageJournal, report

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = STARTED_AT.date()
LAST = FIRST + timedelta(days=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorityProcess]:
    """Two customers, of whom one has sessions on two days."""
    async with authority_process(tmp_path_factory.mktemp("authority")) as running:
        days = [datetime.combine(day, time(23, 59, 59), UTC) for day in (FIRST, LAST)]
        sessions = {
            "acme": [
                report("session-1", sequence=1, audio_ms=10, started_at=days[0]),
                report("session-1", sequence=2, audio_ms=7_384_001, started_at=days[0], outcome="client_terminated"),
                report("session-2", audio_ms=5, started_at=days[1], transcript_characters=3),
            ],
            "beta": [report("session-3", audio_ms=1, started_at=days[0])],
        }
        for customer, reports in sessions.items():
            issued, journal = await running.issue(customer=customer), UsageJournal.of(reports)
            assert (await running.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200
        yield running


async def usage(authority: AuthorityProcess, *more: str, first: str = str(FIRST), last: str = str(LAST)) -> Ran:
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    return await streamstack("usage", "report", *place, "--from", first, "--to", last, *more)


async def test_a_table_has_a_line_for_each_customer_and_day_and_their_sum(authority: AuthorityProcess) -> None:
    ran = await usage(authority)
    assert (ran.status, ran.err) == (exit_codes.OK, "")
    assert ran.out.splitlines() == [
        "customer  day (UTC)   sessions  open  audio ms  h:mm:ss  characters",
        f"acme      {FIRST}         1     0   7384001  2:03:04           0",
        f"acme      {LAST}         1     1         5  0:00:00           3",
        f"beta      {FIRST}         1     1         1  0:00:00           0",
        "all                          3     2   7384007  2:03:04           3",
    ]


async def test_one_customer_alone_and_one_day_alone(authority: AuthorityProcess) -> None:
    told = Report.model_validate_json((await usage(authority, "--customer", "acme", "--json")).out)
    assert (told.total.audio_ms, {row.customer for row in told.rows}) == (7_384_006, {"acme"})
    told = Report.model_validate_json((await usage(authority, "--json", first=str(LAST))).out)
    assert (told.total.audio_ms, [row.models.keys() for row in told.rows]) == (5, [{"english"}])


async def test_json_has_every_sum_as_whole_milliseconds(authority: AuthorityProcess) -> None:
    told = json.loads((await usage(authority, "--json")).out)
    assert told["total"] == {"sessions": 3, "open_sessions": 2, "audio_ms": 7_384_007, "transcript_characters": 3}
    assert [row["audio_ms"] for row in told["rows"]] == [7_384_001, 5, 1]


async def test_days_without_sessions_bill_nothing(authority: AuthorityProcess) -> None:
    ran = await usage(authority, first="2020-01-01", last="2020-01-31")
    assert (ran.status, len(ran.out.splitlines())) == (exit_codes.OK, 2)


async def test_more_days_than_the_authority_sums_are_refused_in_its_words(authority: AuthorityProcess) -> None:
    ran = await usage(authority, first="2020-01-01")
    assert ran.status == exit_codes.REFUSED
    assert "at most 366 days" in ran.err


@pytest.mark.parametrize(("first", "last"), [("2026-03-02", "2026-03-01"), ("yesterday", "2026-03-01"), ("", "")])
async def test_days_that_are_none_are_refused_here(tmp_path: Path, first: str, last: str) -> None:
    place = ["--authority", "http://127.0.0.1:1", "--credential-file", str(tmp_path / "none")]
    with pytest.raises(SystemExit, match="2"):
        main(["usage", "report", *place, "--from", first, "--to", last])


async def test_a_customers_name_moves_nothing_on_a_terminal() -> None:
    row = DayTotal(
        customer="acme\x1b[2J",
        day=datetime(2026, 3, 1, tzinfo=UTC).date(),
        models={},
        sessions=1,
        open_sessions=0,
        audio_ms=1,
        transcript_characters=0,
    )
    assert "\x1b" not in table(Report(rows=(row,), total=summed([row])))
