"""What lines have seen adds up, and a journal that was tampered with is found wherever it was."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from streamstack_common.authority import JOURNALS_PATH, Upload
from streamstack_common.usage import USAGE_PATH, RejectedReport, UsageReceipt
from streamstack_license_authority.chain import linked
from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.ledger.journals import take
from streamstack_license_proxy.journal.records import Batch, Entry
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from support.chaos_books import Books
from support.chaos_judge import Statement
from support.relay import Exchange
from support.usage_journal import report

NAME = "session-1"


def batch(*reports: Any) -> bytes:
    return json.dumps({"reports": [json.loads(each.model_dump_json()) for each in reports]}).encode()


def receipt(*rejected: RejectedReport) -> bytes:
    return UsageReceipt(rejected=rejected).model_dump_json().encode()


def test_reports_count_as_made_whatever_became_of_them() -> None:
    books = Books()
    books.asked_of_proxy(USAGE_PATH, batch(report(sequence=2, audio_ms=700, outcome="terminated")))
    books.asked_of_proxy("/v1/license", b"")
    assert books.reported == {Statement(NAME, 2, 700, "terminated")}
    assert books.acknowledged == {}


def test_only_an_answer_200_acknowledges_and_the_highest_amount_stays() -> None:
    books = Books()
    for status, audio_ms in ((200, 500), (507, 900), (200, 300)):
        exchange = Exchange(USAGE_PATH, batch(report(audio_ms=audio_ms)), status, receipt())
        books.answered_by_proxy(exchange)
    assert books.acknowledged == {NAME: 500}


def test_a_rejected_report_is_not_acknowledged() -> None:
    books = Books()
    body = batch(report("session-1"), report("session-2", sequence=7))
    answer = receipt(RejectedReport(index=1, reason="no sense"))
    books.answered_by_proxy(Exchange(USAGE_PATH, body, 200, answer))
    assert books.acknowledged == {"session-1": 1000}
    assert books.rejected == {"session-2": "report 7: no sense"}


@dataclass
class Written:
    """Three records in a proxy's journal, all sent up and in the ledger."""

    books: Books
    journal_id: str
    file: Path
    ledger: Path

    def problems(self) -> dict[str, str]:
        return self.books.broken_chains([self.file], self.ledger)


@pytest.fixture
async def written(tmp_path: Path) -> Written:
    journal = UsageJournal.open(tmp_path)
    await journal.take([Entry.of(report(sequence=sequence, audio_ms=sequence * 100)) for sequence in (1, 2, 3)])
    records = await journal.next_batch()
    assert records is not None
    await journal.close()
    ledger = tmp_path / "ledger.sqlite3"
    database = Database(URL.create("sqlite", database=str(ledger)))
    database.prepare()
    run = linked(first=records.first, after=records.after, head=records.head, bodies=records.bodies)
    with database.writing() as connection:
        take(connection, journal_id=records.journal_id, customer="acme", run=run, now_ms=0)
    database.close()
    books = Books()
    books.asked_of_authority(path_of(records), sent_up(records))
    return Written(books, records.journal_id, tmp_path / "usage.sqlite3", ledger)


def path_of(records: Batch) -> str:
    return f"{JOURNALS_PATH}/{records.journal_id}/records"


def sent_up(records: Batch) -> bytes:
    upload = Upload(
        first=records.first, after=records.after.hex(), head=records.head.hex(), records=tuple(records.bodies)
    )
    return upload.model_dump_json().encode()


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


async def test_journals_that_hold_have_nothing_wrong(written: Written) -> None:
    assert written.problems() == {}
    assert written.books.recorded == {Statement(NAME, number, number * 100, None) for number in (1, 2, 3)}


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE records SET body = replace(body, '200', '201') WHERE number = 2",
        "DELETE FROM records WHERE number = 2",
        "DELETE FROM records WHERE number = 3",
    ],
)
@pytest.mark.parametrize("where", ["file", "ledger"])
async def test_a_record_that_was_changed_or_removed_is_found(written: Written, tampering: str, where: str) -> None:
    change(getattr(written, where), tampering)
    assert list(written.problems()) == [written.journal_id]


async def test_a_number_that_was_used_twice_is_found(written: Written) -> None:
    other = Upload(first=2, after="0" * 64, head="1" * 64, records=(report(sequence=9).model_dump_json(),))
    written.books.asked_of_authority(f"{JOURNALS_PATH}/{written.journal_id}/records", other.model_dump_json().encode())
    assert "two versions" in written.problems()[written.journal_id]


async def test_a_record_that_was_passed_over_is_found(written: Written) -> None:
    del written.books.journals[written.journal_id][2]
    assert "record 2 was never sent up" in written.problems()[written.journal_id]
