import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from streamstack_common.authority import MAX_UPLOAD_BYTES
from support.authority_process import AuthorityProcess, Issued, authority_process
from support.postgresql import PostgresqlServer
from support.usage_journal import STARTED_AT, UsageJournal, report


async def upload(
    authority: AuthorityProcess, journal: UsageJournal, issued: Issued, first: int = 1, last: int | None = None
) -> tuple[int, Any]:
    return await authority.post(journal.path, journal.upload(first, last), token=issued.api_key)


async def billed(authority: AuthorityProcess, customer: str = "acme") -> dict[str, int]:
    return {session_id: row["audio_ms"] for session_id, row in (await authority.sessions(customer)).items()}


async def test_the_same_report_sent_a_thousand_times_bills_once(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report(audio_ms=1234)])
        headers = {"Authorization": f"Bearer {issued.api_key}"}
        async with aiohttp.ClientSession(authority.url, headers=headers) as http:

            async def send() -> tuple[int, Any]:
                async with http.post(journal.path, json=journal.upload()) as answer:
                    return answer.status, await answer.json()

            for _ in range(50):
                answers = await asyncio.gather(*[send() for _ in range(20)])
                assert answers == [(200, {"next": 2, "problem": None})] * 20
        # And in 50 records more, which another proxy wrote.
        other = UsageJournal.of([report(audio_ms=1234)] * 50)
        assert (await upload(authority, other, issued))[0] == 200
        assert await billed(authority) == {"session-1": 1234}
        _, usage = await authority.get(f"/v1/usage?from={STARTED_AT.date()}&to={STARTED_AT.date()}")
        assert [(row["sessions"], row["audio_ms"]) for row in usage["rows"]] == [(1, 1234)]


async def test_two_authorities_on_one_database_take_each_record_once(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    url = postgresql.database_url()
    async with AsyncExitStack() as stack:
        folders = [tmp_path / "one", tmp_path / "two"]
        key = tmp_path / "signing-key.pem"
        for folder in folders:
            folder.mkdir()
        one, two = [
            await stack.enter_async_context(authority_process(folder, DATABASE_URL=url, SIGNING_KEY_FILE=str(key)))
            for folder in folders
        ]
        issued = await one.issue()
        # Both journals tell of the same sessions, in opposite orders.
        names = [f"session-{n:03}" for n in range(100)]
        journals = [
            UsageJournal.of([report(name, sequence=1, audio_ms=10) for name in names]),
            UsageJournal.of([report(name, sequence=2, audio_ms=25) for name in reversed(names)]),
        ]
        for start in range(1, 101, 10):
            answers = await asyncio.gather(
                *[
                    upload(authority, journal, issued, start, start + 9)
                    for authority in (one, two)
                    for journal in journals
                    for _ in range(4)
                ]
            )
            assert {status for status, _ in answers} == {200}
            assert {body["next"] for _, body in answers} == {start + 10}
        assert await billed(two) == dict.fromkeys(names, 25)
        counted = await asyncio.gather(*[accepted(authority) for authority in (one, two)])
        assert sum(counted) == 200


async def accepted(authority: AuthorityProcess) -> int:
    _, text = await authority.get("/metrics")
    name = 'streamstack_authority_records_total{result="accepted"}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return int(float(line.split()[1]))


async def test_missing_records_are_named_and_another_history_is_refused(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued = await authority.issue()
        journal = UsageJournal.of([report(sequence=n, audio_ms=n) for n in range(1, 10)])
        status, body = await upload(authority, journal, issued, 4)
        assert (status, body["next"], body["problem"]) == (409, 1, "gap")
        assert "records 1 to 3 are missing" in body["error"]
        assert (await upload(authority, journal, issued, 1, 5))[1] == {"next": 6, "problem": None}
        assert (await upload(authority, journal, issued, 3, 7))[1] == {"next": 8, "problem": None}
        assert (await upload(authority, journal, issued, 9))[1]["next"] == 8

        fork = UsageJournal(journal.journal_id, bodies=journal.bodies[:4])
        fork.append(*[report(sequence=n, audio_ms=10**6) for n in range(5, 12)])
        for first, last in [(1, 11), (5, 5), (8, 11)]:
            status, body = await upload(authority, fork, issued, first, last)
            assert (status, body["next"], body["problem"]) == (409, 8, "fork")
        assert await billed(authority) == {"session-1": 7}


async def test_a_journal_belongs_to_the_customer_who_used_it_first(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        acme, rival = await authority.issue(), await authority.issue(customer="rival")
        journal = UsageJournal.of([report()])
        assert (await upload(authority, journal, acme))[0] == 200
        status, body = await upload(authority, journal, rival)
        assert (status, list(body)) == (403, ["error"])
        assert await billed(authority, "rival") == {}
        # The same session id of two customers is two sessions.
        assert (await upload(authority, UsageJournal.of([report(audio_ms=7)]), rival))[0] == 200
        assert (await billed(authority), await billed(authority, "rival")) == ({"session-1": 1000}, {"session-1": 7})


async def test_usage_of_a_revoked_license_is_still_taken(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        await authority.revoke(issued.license_id)
        assert (await upload(authority, UsageJournal.of([report()]), issued))[0] == 200


async def test_records_that_nobody_understands_are_kept_and_block_nothing(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued, journal = await authority.issue(), UsageJournal()
        journal.append("", "\x00", "[" * 4096, "{}", report(model="a\x00b", tenant="t\x00", audio_ms=3), "\u2028")
        # Half of a character, which JSON can say and no text can hold.
        journal.append(
            *[report(**{name: "X"}).model_dump_json().replace("X", r"\ud800") for name in ("model", "tenant")]
        )
        assert await upload(authority, journal, issued) == (200, {"next": 9, "problem": None})
        (row,) = (await authority.sessions()).values()
        assert (row["audio_ms"], row["model"], row["tenant"]) == (3, "a\ufffdb", "t\ufffd")
        _, listed = await authority.get("/v1/journals?customer=acme")
        (found,) = listed["journals"]
        assert (found["journal_id"], found["next"], found["unreadable_records"]) == (journal.journal_id, 9, 7)
        assert "7 records cannot be understood" in authority.log


async def test_a_gateways_clock_moves_no_usage_to_a_day_that_nobody_bills(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued = await authority.issue()
        years = {"session-early": 1, "session-late": 9999}
        reports = [report(name, started_at=datetime(year, 6, 1, tzinfo=UTC)) for name, year in years.items()]
        assert (await upload(authority, UsageJournal.of(reports), issued))[0] == 200
        today = datetime.now(UTC).date()
        period = {"from": str(today - timedelta(days=364)), "to": str(today + timedelta(days=1))}
        _, usage = await authority.get_with("/v1/usage", period)
        assert [row["audio_ms"] for row in usage["rows"]] == [1000, 1000]
        told = {name: row["started_at"][:4] for name, row in (await authority.sessions()).items()}
        assert told == {"session-early": "0001", "session-late": "9999"}


async def test_who_hangs_up_before_the_end_of_a_body_leaves_no_traceback(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report()])
        for proof in ("X-Nothing: 1", f"Authorization: Bearer {issued.api_key}"):
            for path in ("/v1/checkins", journal.path):
                _, writer = await asyncio.open_connection("127.0.0.1", authority.port)
                head = [f"POST {path} HTTP/1.1", "Host: authority", proof, "Content-Length: 100", "", '{"half']
                writer.write("\r\n".join(head).encode())
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        assert (await upload(authority, journal, issued))[0] == 200
        assert await authority.stop() == 0
        assert "Traceback" not in authority.log


async def test_an_upload_that_makes_no_sense_is_refused_by_name(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"head": "0" * 64}, "the hash of record 1 is not the head"),
        ({"head": "x"}, "head: "),
        ({"first": 0}, "first: "),
        ({"first": 2**63}, "expected numbers up to"),
        ({"first": 2**70}, "expected numbers up to"),
        ({"records": []}, "records: "),
        ({"records": ["a"] * 501}, "records: "),
        ({"records": ["a" * 4097]}, "records.0: "),
        ({"records": None}, "records: "),
    ]
    async with authority_process(tmp_path) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report()])
        for changes, complaint in cases:
            status, body = await authority.post(journal.path, {**journal.upload(), **changes}, token=issued.api_key)
            assert status == 422
            assert complaint in body["error"]
        elsewhere = journal.path.replace("/v1/journals/", "/v1/journals/x")
        assert (await authority.post(elsewhere, journal.upload(), token=issued.api_key))[0] == 422
        assert (await authority.get("/v1/journals"))[1]["journals"] == []


async def test_only_the_api_key_opens_and_it_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report()])
        for token in (None, authority.token, "wrong"):
            assert (await authority.post(journal.path, {}, token=token))[0] == 401
        assert b" 401 " in await answer_to(authority, journal, "Content-Length: 1000000")
        proof = f"Authorization: Bearer {issued.api_key}"
        assert b" 413 " in await answer_to(authority, journal, proof, f"Content-Length: {MAX_UPLOAD_BYTES + 1}")
        chunks = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        body = chunks * (MAX_UPLOAD_BYTES // 0x10000 + 1)
        assert b" 413 " in await answer_to(authority, journal, proof, "Transfer-Encoding: chunked", body=body)


async def answer_to(authority: AuthorityProcess, journal: UsageJournal, *headers: str, body: bytes = b"") -> bytes:
    """The first line of what is answered to an upload of which not more than ``body`` comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", authority.port)
    head = "\r\n".join([f"POST {journal.path} HTTP/1.1", "Host: authority", *headers, "", ""])
    writer.write(head.encode() + body)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_a_higher_sequence_reopens_what_the_authority_closed(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url, ORPHAN_AFTER_SECONDS="1") as authority:
        issued = await authority.issue()
        journal = UsageJournal.of([report(sequence=2, audio_ms=20)])
        await upload(authority, journal, issued)
        await until_closed_by(authority, "authority")

        journal.append(report(sequence=1, audio_ms=10))
        await upload(authority, journal, issued, 2)
        (row,) = (await authority.sessions()).values()
        assert (row["closed_by"], row["audio_ms"], row["sequence"]) == ("authority", 20, 2)

        journal.append(report(sequence=3, audio_ms=30))
        await upload(authority, journal, issued, 3)
        await until_closed_by(authority, "authority", audio_ms=30)

        journal.append(report(sequence=4, audio_ms=40, outcome="ended"))
        await upload(authority, journal, issued, 4)
        (row,) = (await authority.sessions()).values()
        assert (row["closed_by"], row["audio_ms"], row["outcome"]) == ("gateway", 40, "ended")
        assert "1 sessions were closed" in authority.log


async def until_closed_by(authority: AuthorityProcess, who: str, *, audio_ms: int | None = None) -> None:
    async with asyncio.timeout(30):
        while True:
            (row,) = (await authority.sessions()).values()
            if row["closed_by"] == who and audio_ms in {None, row["audio_ms"]}:
                return
            await asyncio.sleep(0.05)
