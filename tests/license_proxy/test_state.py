import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.license import ExpiredError, ForgedSignatureError, NotYetValidError, verify
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.state import standing
from support.signer import EXP, NBF, Signer

SIGNER = Signer()
LICENSE = verify(SIGNER.token(), SIGNER.keyring())
MOMENTS = st.integers(NBF - 10_000, EXP + 10_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def test_a_valid_license_is_ready_and_has_no_timestamps_before_the_first_check_in() -> None:
    body = standing(LICENSE, LICENSE.valid_from).status(extra_keys=False).model_dump_json()
    assert json.loads(body) == {"state": "Ready", "last_successful_checkin": None, "trust_expiration": None}


def test_extra_keys_show_only_where_there_are_some() -> None:
    body = json.loads(standing(LICENSE, LICENSE.valid_from).status(extra_keys=True).model_dump_json())
    assert body["extra_keys"] is True


@given(MOMENTS)
def test_a_license_is_ready_exactly_while_it_is_valid(now: datetime) -> None:
    judged = standing(LICENSE, now)
    valid = LICENSE.valid_from <= now < LICENSE.expires_at
    assert judged.state is (LicenseState.READY if valid else LicenseState.FAILED)
    assert (judged.failure is None) is valid
    assert judged.license is LICENSE


def test_why_it_failed_is_told_with_the_claims_of_an_authentic_license() -> None:
    early = standing(LICENSE, LICENSE.valid_from - timedelta(seconds=1))
    late = standing(LICENSE, LICENSE.expires_at)
    assert isinstance(early.failure, NotYetValidError)
    assert isinstance(late.failure, ExpiredError)


@given(MOMENTS)
def test_an_unusable_file_is_failed_at_any_time(now: datetime) -> None:
    problem = ForgedSignatureError("the signature is not that of key test-1")
    judged = standing(problem, now)
    assert (judged.state, judged.failure, judged.license) == (LicenseState.FAILED, problem, None)
