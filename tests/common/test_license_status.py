import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamstack_common.license_status import LicenseState, LicenseStatus, format_timestamp

MOMENTS = st.datetimes(timezones=st.just(UTC))


def test_the_seeds_example_is_written_to_the_byte() -> None:
    status = LicenseStatus(
        state=LicenseState.CONNECTED,
        last_successful_checkin=datetime(2026, 1, 1, 12, tzinfo=UTC),
        trust_expiration=datetime(2026, 1, 5, 12, tzinfo=UTC),
    )
    assert status.model_dump_json() == (
        '{"state":"Connected","last_successful_checkin":"2026-01-01T12:00:00.000000Z",'
        '"trust_expiration":"2026-01-05T12:00:00.000000Z"}'
    )


@given(st.builds(LicenseStatus, last_successful_checkin=st.none() | MOMENTS, trust_expiration=st.none() | MOMENTS))
def test_what_a_proxy_writes_a_gateway_reads(status: LicenseStatus) -> None:
    written = status.model_dump_json()
    assert LicenseStatus.model_validate_json(written) == status
    assert ("extra_keys" in json.loads(written)) is status.extra_keys


def test_timestamps_are_utc_whatever_zone_they_come_in() -> None:
    east = datetime(2026, 1, 1, 21, 0, 0, 5, tzinfo=timezone(timedelta(hours=9)))
    assert format_timestamp(east) == "2026-01-01T12:00:00.000005Z"


@pytest.mark.parametrize("moment", ["2026-01-01T12:00:00", "soon", "9999-12-31T23:59:59-09:00", {}])
def test_a_moment_without_zone_or_outside_the_calendar_is_refused(moment: object) -> None:
    body = {"state": "Ready", "last_successful_checkin": None, "trust_expiration": moment}
    with pytest.raises(ValidationError, match="trust_expiration"):
        LicenseStatus.model_validate_json(json.dumps(body))
