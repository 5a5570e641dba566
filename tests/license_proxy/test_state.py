import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.license import ExpiredError, ForgedSignatureError, License, NotYetValidError, verify
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.state import Standing, standing
from streamstack_license_proxy.trust import Moment, Trust
from support.signer import EXP, NBF, Signer

SIGNER = Signer()
OFFLINE = verify(SIGNER.token(), SIGNER.keyring())
ONLINE = verify(SIGNER.token(offline=False, trust_window_seconds=1000), SIGNER.keyring())
MOMENTS = st.integers(NBF - 10_000, EXP + 10_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
HOLDS = 40.0


def at(wall: datetime | int, *, boot: str = "a", up: float = 500.0) -> Moment:
    moment = wall if isinstance(wall, datetime) else datetime.fromtimestamp(wall, UTC)
    return Moment(moment, boot, up)


def judge(license_: License, trust: Trust | None, now: Moment) -> Standing:
    return standing(license_, trust, now, answer_holds_seconds=HOLDS)


def seen() -> Trust:
    """A license first seen at NBF."""
    return Trust.first_seen("license-1", at(NBF))


def confirmed() -> Trust:
    """A license whose good check-in was at NBF by every clock."""
    return seen().good(at(NBF), authority_time=datetime.fromtimestamp(NBF, UTC))


def body(judged: Standing) -> dict[str, object]:
    shown: dict[str, object] = json.loads(judged.status(extra_keys=False).model_dump_json())
    return shown


@pytest.mark.parametrize(("license_", "trust"), [(OFFLINE, None), (OFFLINE, seen()), (ONLINE, None), (ONLINE, seen())])
def test_before_the_first_check_in_a_license_is_ready_with_nulls(license_: License, trust: Trust | None) -> None:
    shown = body(judge(license_, trust, at(NBF)))
    assert shown == {"state": "Ready", "last_successful_checkin": None, "trust_expiration": None}


def test_after_a_good_check_in_the_body_is_the_seeds() -> None:
    assert body(judge(ONLINE, confirmed(), at(NBF + 5, up=505))) == {
        "state": "Connected",
        "last_successful_checkin": "2027-01-15T08:00:00.000000Z",
        "trust_expiration": "2027-01-15T08:16:40.000000Z",
    }


def test_after_a_failed_one_trust_runs_out_to_the_second_and_a_good_one_gives_it_back() -> None:
    trust = confirmed().failed(at(NBF + 60, up=560))
    assert judge(ONLINE, trust, at(NBF + 60, up=560)).state is LicenseState.TRUST_BASED
    assert judge(ONLINE, trust, at(NBF + 999, up=1499.9)).state is LicenseState.TRUST_BASED
    over = judge(ONLINE, trust, at(NBF + 1000, up=1500))
    assert (over.state, over.failure and over.failure.cause) == (LicenseState.FAILED, "trust_expired")
    back = trust.good(at(NBF + 2000, up=2500), authority_time=datetime.fromtimestamp(NBF + 2000, UTC))
    assert judge(ONLINE, back, at(NBF + 2001, up=2501)).state is LicenseState.CONNECTED


def test_without_any_good_check_in_a_license_is_ready_for_one_window_and_then_failed() -> None:
    trust = seen().failed(at(NBF + 10, up=510))
    assert judge(ONLINE, trust, at(NBF + 999, up=1499)).state is LicenseState.READY
    over = judge(ONLINE, trust, at(NBF + 1000, up=1500))
    assert (over.state, over.failure and over.failure.cause) == (LicenseState.FAILED, "never_confirmed")


def test_revoked_stays_whatever_fails_after_it_and_until_the_authority_takes_it_back() -> None:
    trust = confirmed().found_revoked(at(NBF + 60, up=560)).failed(at(NBF + 120, up=620))
    judged = judge(ONLINE, trust, at(NBF + 120, up=620))
    assert (judged.state, judged.failure and judged.failure.cause) == (LicenseState.FAILED, "revoked")
    again = trust.good(at(NBF + 130, up=630), authority_time=datetime.fromtimestamp(NBF + 130, UTC))
    assert judge(ONLINE, again, at(NBF + 131, up=631)).state is LicenseState.CONNECTED


def test_a_window_shorter_than_the_pause_between_check_ins_counts_only_once_one_failed() -> None:
    short = ONLINE.model_copy(update={"trust_window_seconds": 0})
    assert judge(short, confirmed(), at(NBF + 39, up=539)).state is LicenseState.CONNECTED
    assert judge(short, confirmed(), at(NBF + 40, up=540)).state is LicenseState.FAILED
    assert judge(short, confirmed().failed(at(NBF + 1, up=501)), at(NBF + 1, up=501)).state is LicenseState.FAILED


def test_after_a_good_check_in_dates_are_judged_by_the_authoritys_clock() -> None:
    trust = seen().good(at(EXP + 10_000), authority_time=datetime.fromtimestamp(NBF + 100, UTC))
    assert judge(ONLINE, trust, at(EXP + 10_001, up=501)).state is LicenseState.CONNECTED
    trust = seen().good(at(NBF), authority_time=datetime.fromtimestamp(EXP - 10, UTC))
    assert isinstance(judge(ONLINE, trust, at(NBF, up=510)).failure, ExpiredError)


def test_on_another_boot_a_clock_that_was_reset_makes_no_license_not_yet_valid() -> None:
    judged = judge(ONLINE, confirmed().failed(at(NBF + 60, up=560)), at(0, boot="b", up=3))
    assert judged.state is LicenseState.TRUST_BASED


def test_on_another_boot_time_switched_off_counts_by_the_wall_clock() -> None:
    trust = confirmed()
    assert judge(ONLINE, trust, at(NBF + 999, boot="b", up=3)).state is LicenseState.CONNECTED
    assert judge(ONLINE, trust, at(NBF + 1000, boot="b", up=3)).state is LicenseState.FAILED


def test_running_time_counts_on_every_boot_even_with_the_wall_clock_set_back() -> None:
    trust = confirmed().failed(at(NBF + 400, up=900))
    trust = trust.noted(at(0, boot="b", up=3)).failed(at(300, boot="b", up=303))
    trust = trust.noted(at(0, boot="c", up=9000))
    assert judge(ONLINE, trust, at(299, boot="c", up=9299)).state is LicenseState.TRUST_BASED
    assert judge(ONLINE, trust, at(300, boot="c", up=9300)).state is LicenseState.FAILED


def test_another_machine_that_has_been_up_for_long_takes_no_trust_away() -> None:
    trust = confirmed().noted(at(NBF + 20, boot="b", up=10**7))
    assert judge(ONLINE, trust, at(NBF + 30, boot="b", up=10**7 + 10)).state is LicenseState.CONNECTED


def test_extra_keys_show_only_where_there_are_some() -> None:
    shown = json.loads(judge(OFFLINE, None, at(NBF)).status(extra_keys=True).model_dump_json())
    assert shown["extra_keys"] is True


@given(MOMENTS)
def test_an_offline_license_is_ready_exactly_while_it_is_valid(now: datetime) -> None:
    judged = judge(OFFLINE, None, at(now))
    valid = OFFLINE.valid_from <= now < OFFLINE.expires_at
    assert judged.state is (LicenseState.READY if valid else LicenseState.FAILED)
    assert (judged.failure is None) is valid
    assert judged.license is OFFLINE


def test_why_it_failed_is_told_with_the_claims_of_an_authentic_license() -> None:
    early = judge(OFFLINE, None, at(OFFLINE.valid_from - timedelta(seconds=1)))
    late = judge(OFFLINE, None, at(OFFLINE.expires_at))
    assert isinstance(early.failure, NotYetValidError)
    assert isinstance(late.failure, ExpiredError)


@given(MOMENTS)
def test_an_unusable_file_is_failed_at_any_time(now: datetime) -> None:
    problem = ForgedSignatureError("the signature is not that of key test-1")
    judged = standing(problem, None, at(now), answer_holds_seconds=HOLDS)
    assert (judged.state, judged.failure, judged.license) == (LicenseState.FAILED, problem, None)
