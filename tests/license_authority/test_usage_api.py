from datetime import timedelta
from pathlib import Path

from support.authority_process import authority_process
from support.usage_journal import STARTED_AT, UsageJournal, report

LATE = STARTED_AT.replace(hour=23, minute=59, second=59, microsecond=999_999)
NEXT_DAY = LATE + timedelta(microseconds=1)
ONE, TWO = str(LATE.date()), str(NEXT_DAY.date())


async def test_usage_is_summed_by_customer_and_utc_day_of_the_start(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        acme, rival = await authority.issue(customer="acme"), await authority.issue(customer="rival & sons")
        mine = UsageJournal.of(
            [
                report("session-1", audio_ms=2**40, transcript_characters=3, started_at=LATE, outcome="ended"),
                report("session-2", audio_ms=2**40, model="pro", started_at=LATE),
                report("session-3", audio_ms=5, started_at=LATE),
                report("session-4", audio_ms=7, started_at=NEXT_DAY),
            ]
        )
        theirs = UsageJournal.of([report("session-1", audio_ms=11, started_at=NEXT_DAY)])
        for journal, issued in [(mine, acme), (theirs, rival)]:
            assert (await authority.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200

        _, both = await authority.get_with("/v1/usage", {"from": ONE, "to": TWO})
        assert [(row["customer"], row["day"], row["audio_ms"]) for row in both["rows"]] == [
            ("acme", ONE, 2**41 + 5),
            ("acme", TWO, 7),
            ("rival & sons", TWO, 11),
        ]
        assert both["rows"][0]["models"] == {
            "english": {"sessions": 2, "open_sessions": 1, "audio_ms": 2**40 + 5, "transcript_characters": 3},
            "pro": {"sessions": 1, "open_sessions": 1, "audio_ms": 2**40, "transcript_characters": 0},
        }
        assert (both["rows"][0]["sessions"], both["rows"][0]["open_sessions"]) == (3, 2)

        one_day = {"from": TWO, "to": TWO, "customer": "rival & sons"}
        _, one = await authority.get_with("/v1/usage", one_day)
        assert [row["customer"] for row in one["rows"]] == ["rival & sons"]
        assert (await authority.get_with("/v1/usage", {**one_day, "customer": "nobody"}))[1] == {"rows": []}


async def test_sessions_are_told_one_by_one_and_in_pages(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued = await authority.issue()
        names = [f"session-{n:03}" for n in range(25)]
        journals = [
            UsageJournal.of([report(name, audio_ms=n) for n, name in enumerate(names)]),
            UsageJournal.of(
                [report(names[3], sequence=2, audio_ms=99, tenant="t", features=("a", "b_2"), outcome="client_closed")]
            ),
        ]
        for journal in journals:
            assert (await authority.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200

        seen: list[str] = []
        query = {"customer": "acme", "limit": "10", "day": ONE, "after": ""}
        while True:
            _, page = await authority.get_with("/v1/usage/sessions", query)
            seen += [row["session_id"] for row in page["sessions"]]
            if page["next"] is None:
                break
            query["after"] = page["next"]
        assert seen == names

        row = (await authority.sessions())[names[3]]
        heard, closed = row.pop("heard_at"), row.pop("closed_at")
        assert heard == closed
        assert row == {
            "session_id": names[3],
            "day": ONE,
            "started_at": f"{ONE}T10:00:00.000000Z",
            "audio_ms": 99,
            "transcript_characters": 0,
            "sequence": 2,
            "model": "english",
            "tenant": "t",
            "features": ["a", "b_2"],
            "outcome": "client_closed",
            "closed_by": "gateway",
            "journals": sorted(journal.journal_id for journal in journals),
        }
        _, other_day = await authority.get_with("/v1/usage/sessions", {"customer": "acme", "day": TWO})
        assert other_day == {"sessions": [], "next": None}


async def test_a_question_that_makes_no_sense_is_refused_by_name(tmp_path: Path) -> None:
    cases = [
        ("/v1/usage", {"from": "2026-03-02", "to": "2026-03-01"}, "to: expected a day from 2026-03-02 on"),
        ("/v1/usage", {"from": "2020-01-01", "to": "2026-03-01"}, "at most 366 days"),
        ("/v1/usage", {"from": "yesterday", "to": "2026-03-01"}, "query.from: "),
        ("/v1/usage", {"to": "2026-03-01"}, "query.from: Field required"),
        ("/v1/usage/sessions", {}, "query.customer: Field required"),
        ("/v1/usage/sessions", {"customer": "acme", "limit": "100000"}, "query.limit: "),
        ("/v1/usage/sessions", {"customer": "a\0b"}, "query.customer: "),
    ]
    async with authority_process(tmp_path) as authority:
        for path, query, complaint in cases:
            status, body = await authority.get_with(path, query)
            assert status == 422
            assert complaint in body["error"]
