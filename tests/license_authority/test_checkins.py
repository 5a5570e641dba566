from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.authority import CheckIn, Verdict
from streamstack_license_authority.checkins import ForeignLicenseError, WrongApiKeyError, judge, own_license
from streamstack_license_authority.issuing import LicenseWish, issue
from streamstack_license_authority.ledger.licenses import LicenseRow
from streamstack_license_authority.signing import SigningKey, SigningKeys

KEY = SigningKey("one", Ed25519PrivateKey.generate())
KEYS = SigningKeys(KEY)


def judged(
    *, billing: str = "usage", offline: bool = False, revoked: bool = False, known: bool = True, key_owner: str | None
) -> Verdict:
    wish = {"customer": "acme", "models": ["*"], "trust_window_seconds": 1, "valid_seconds": 1}
    made = issue(
        LicenseWish.model_validate({**wish, "billing": billing, "offline": offline}),
        key=KEY,
        authority="https://authority.example",
        now=datetime.now(UTC),
    )
    row = LicenseRow(
        claims=made.claims,
        issued_at_ms=1,
        revoked_at_ms=1 if revoked else None,
        revoke_reason=None,
        last_checkin_ms=None,
        last_instance_id=None,
    )
    return judge(
        CheckIn(license=made.token, nonce="n" * 22, instance_id="proxy"),
        license_=own_license(made.token, KEYS),
        row=row if known else None,
        key_owner=key_owner,
        now_seconds=123,
    )


def test_a_license_holds_until_it_is_revoked() -> None:
    good = judged(key_owner="acme")
    assert (good.verdict, good.nonce, good.iat) == ("good", "n" * 22, 123)
    assert judged(key_owner="acme", revoked=True).verdict == "revoked"


def test_only_whoever_reports_usage_needs_an_api_key_and_only_its_own_will_do() -> None:
    assert judged(billing="flat", key_owner=None).verdict == "good"
    assert judged(offline=True, key_owner=None).verdict == "good"
    for owner in (None, "somebody else"):
        with pytest.raises(WrongApiKeyError):
            judged(key_owner=owner)


def test_a_license_that_the_ledger_does_not_know_is_none_of_ours() -> None:
    with pytest.raises(ForeignLicenseError, match="expected one that is in the ledger"):
        judged(key_owner="acme", known=False)


def test_a_license_of_another_key_is_none_of_ours() -> None:
    stranger = SigningKey("one", Ed25519PrivateKey.generate())
    for token in (stranger.sign({"aud": "streamstack"}), "no token", "\ud800"):
        with pytest.raises(ForeignLicenseError, match="license: "):
            own_license(token, KEYS)
