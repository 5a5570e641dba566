import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamstack_common.usage import MAX_REPORTS, UsageBatch, UsageReport, chain_start, chained

MOMENTS = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
GOOD: dict[str, Any] = {
    "session_id": "8f1b2c3d-0000-4000-8000-000000000000",
    "sequence": 3,
    "started_at": "2026-01-01T00:00:00.000000Z",
    "reported_at": "2026-01-01T00:00:30.000000Z",
    "model": "universal-streaming-english",
    "audio_ms": 29_500,
    "transcript_characters": 412,
    "features": ["format_turns"],
    "tenant": "acme",
    "outcome": "client_closed",
}


def parsed(**changes: Any) -> UsageReport:
    return UsageReport.model_validate_json(json.dumps({**GOOD, **changes}))


@given(started_at=MOMENTS, audio_ms=st.integers(0, 2**40), model=st.text(min_size=1, max_size=128))
def test_a_report_that_is_written_and_read_is_the_same_and_is_written_the_same(
    started_at: datetime, audio_ms: int, model: str
) -> None:
    report = UsageReport(
        session_id="session-1",
        sequence=1,
        started_at=started_at,
        reported_at=started_at,
        model=model.encode("utf-8", "replace").decode(),
        audio_ms=audio_ms,
    )
    body = report.model_dump_json()
    assert UsageReport.model_validate_json(body) == report
    assert UsageReport.model_validate_json(body).model_dump_json() == body


def test_a_report_holds_what_is_billed_and_nothing_else() -> None:
    report = parsed(client_ip="203.0.113.1", transcript="hello")
    assert set(report.model_dump()) == set(GOOD)
    assert "203.0.113.1" not in report.model_dump_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": "short"},
        {"session_id": "x" * 65},
        {"session_id": "with space"},
        {"sequence": 0},
        {"sequence": "1"},
        {"sequence": 2**31 + 1},
        {"audio_ms": -1},
        {"audio_ms": 1.5},
        {"audio_ms": True},
        {"audio_ms": 2**40 + 1},
        {"started_at": "2026-01-01T00:00:00"},
        {"model": ""},
        {"model": "x" * 129},
        {"tenant": ""},
        {"features": ["Upper"]},
        {"features": ["x"] * 17},
        {"outcome": "x" * 129},
    ],
)
def test_what_has_no_sense_is_no_report(changes: dict[str, Any]) -> None:
    assert parsed()
    with pytest.raises(ValidationError):
        parsed(**changes)


def test_a_batch_is_bounded_and_does_not_look_into_its_reports() -> None:
    assert UsageBatch(reports=(1, None, "x")).reports == (1, None, "x")
    for reports in ((), (1,) * (MAX_REPORTS + 1)):
        with pytest.raises(ValidationError):
            UsageBatch(reports=reports)


def test_a_chain_is_made_as_documented() -> None:
    start = chain_start("0" * 32)
    assert start == hashlib.sha256(b"streamstack usage journal 1\n" + b"0" * 32).digest()
    assert chained(start, 1, "é") == hashlib.sha256(start + b"\0\0\0\0\0\0\0\1" + b"\xc3\xa9").digest()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6), st.data())
def test_no_record_can_be_changed_left_out_or_moved(bodies: list[str], data: st.DataObject) -> None:
    def head(of: list[str]) -> bytes:
        result = chain_start("0" * 32)
        for number, body in enumerate(of, 1):
            result = chained(result, number, body)
        return result

    other = data.draw(st.permutations(bodies))
    place = data.draw(st.integers(0, len(bodies) - 1))
    assert (head(other) == head(bodies)) is (other == bodies)
    assert head(bodies[:place] + bodies[place + 1 :]) != head(bodies)
    assert head([*bodies[:place], bodies[place] + "x", *bodies[place + 1 :]]) != head(bodies)
