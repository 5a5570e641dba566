from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.usage import UsageReport
from streamstack_license_authority.chain import Record
from streamstack_license_authority.folding import billed_day, heard_of, read
from support.usage_journal import STARTED_AT, report


def records(*bodies: str | UsageReport) -> list[Record]:
    texts = [body if isinstance(body, str) else body.model_dump_json() for body in bodies]
    return [Record(number, text, b"") for number, text in enumerate(texts, 1)]


reports = st.builds(
    lambda session, sequence, audio_ms, characters, outcome: report(
        session, sequence=sequence, audio_ms=audio_ms, transcript_characters=characters, outcome=outcome
    ),
    st.sampled_from(["session-1", "session-2", "session-3"]),
    st.integers(1, 20),
    st.integers(0, 9),
    st.integers(0, 9),
    st.none() | st.just("ended"),
)


@given(st.lists(reports, max_size=12))
def test_each_session_is_said_once_with_its_highest_counts(told: list[UsageReport]) -> None:
    reading = read(records(*told))
    assert {heard.session_id for heard in reading.sessions} == {one.session_id for one in told}
    assert all(one.session_id < other.session_id for one, other in pairwise(reading.sessions))
    for heard in reading.sessions:
        mine = [one for one in told if one.session_id == heard.session_id]
        assert heard.audio_ms == max(one.audio_ms for one in mine)
        assert heard.transcript_characters == max(one.transcript_characters for one in mine)
        assert heard.sequence == max(one.sequence for one in mine)
        assert heard.outcome in {one.outcome for one in mine if one.sequence == heard.sequence}


def test_the_earliest_start_counts() -> None:
    later = report(sequence=2, started_at=STARTED_AT + timedelta(days=1))
    for told in ([report(), later], [later, report()]):
        (heard,) = read(records(*told)).sessions
        assert heard.started_at == STARTED_AT


def test_what_cannot_be_understood_is_counted_and_says_nothing() -> None:
    reading = read(records("not json", report(), '{"session_id": "session-1"}', "[" * 4096))
    assert reading.unreadable == 3
    assert reading.session_of == {1: None, 2: "session-1", 3: None, 4: None}
    assert [heard.audio_ms for heard in reading.sessions] == [1000]


def test_what_a_newer_gateway_adds_is_passed_over() -> None:
    body = report().model_dump_json().replace("{", '{"colour": "blue", ', 1)
    assert read(records(body)).sessions == (heard_of(report()),)


def test_names_are_made_fit_for_every_database() -> None:
    heard = heard_of(report(model="a\x00b", tenant="\x00", outcome="\x00"))
    assert (heard.model, heard.tenant, heard.outcome) == ("a\ufffdb", "\ufffd", "\ufffd")


moments = st.datetimes(timezones=st.just(UTC))


@given(moments)
def test_whatever_a_gateways_clock_says_is_billed_around_the_day_on_which_it_came(started_at: datetime) -> None:
    received_ms = int(STARTED_AT.timestamp() * 1000)
    first, last = STARTED_AT.date() - timedelta(days=364), STARTED_AT.date() + timedelta(days=1)
    day = billed_day(started_at, received_ms=received_ms)
    assert first <= day <= last
    if first <= started_at.date() <= last:
        assert day == started_at.date()


def test_the_bounds_of_the_billed_day_are_days_of_their_own() -> None:
    received_ms = int(datetime(2026, 3, 5, 0, 0, 1, tzinfo=UTC).timestamp() * 1000)
    told = [datetime(1, 1, 1, tzinfo=UTC), datetime(2025, 3, 6, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    days = [billed_day(started_at, received_ms=received_ms) for started_at in told]
    assert days == [date(2025, 3, 6), date(2025, 3, 6), date(2026, 3, 6)]
