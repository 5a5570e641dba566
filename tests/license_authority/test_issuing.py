from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from streamstack_common.license import verify
from streamstack_license_authority.issuing import BACKDATE_SECONDS, LicenseWish, UnissuableError, issue
from streamstack_license_authority.signing import SigningKey, SigningKeys

NOW = datetime(2026, 5, 1, 12, 0, 0, 700_000, tzinfo=UTC)
AUTHORITY = "https://authority.example"
KEY = SigningKey("one", Ed25519PrivateKey.generate())


def wish(**changes: Any) -> LicenseWish:
    good = {
        "customer": "acme",
        "billing": "usage",
        "models": ["english", "*"],
        "max_sessions": 12,
        "trust_window_seconds": 3600,
        "valid_seconds": 1000,
    }
    return LicenseWish.model_validate({**good, **changes})


@pytest.mark.parametrize(
    "key", [KEY, SigningKey("two", rsa.generate_private_key(public_exponent=65537, key_size=2048))]
)
def test_a_license_says_what_was_wished_for(key: SigningKey) -> None:
    made = issue(wish(), key=key, authority=AUTHORITY, now=NOW)
    claims = verify(made.token.encode(), SigningKeys(key).keyring)
    assert claims == made.claims
    assert (claims.customer, claims.billing, claims.models) == ("acme", "usage", ("english", "*"))
    assert (claims.max_sessions, claims.trust_window_seconds, claims.offline) == (12, 3600, False)
    assert claims.authority == AUTHORITY
    assert claims.expires_at == NOW.replace(microsecond=0) + timedelta(seconds=1000)


def test_a_license_for_now_is_valid_for_clocks_that_are_behind() -> None:
    claims = issue(wish(max_sessions=None), key=KEY, authority=AUTHORITY, now=NOW).claims
    claims.check(NOW - timedelta(seconds=BACKDATE_SECONDS))
    assert claims.max_sessions is None


def test_a_license_for_later_begins_when_it_was_asked_to() -> None:
    later = NOW + timedelta(days=3)
    claims = issue(wish(valid_from=later.isoformat()), key=KEY, authority=AUTHORITY, now=NOW).claims
    assert claims.valid_from == later.replace(microsecond=0)
    assert claims.expires_at - claims.valid_from == timedelta(seconds=1000)


def test_every_license_has_an_id_of_its_own() -> None:
    ids = {issue(wish(), key=KEY, authority=AUTHORITY, now=NOW).claims.license_id for _ in range(20)}
    assert len(ids) == 20


def test_an_api_key_is_for_usage_that_goes_over_the_network() -> None:
    assert wish().needs_api_key
    assert not wish(offline=True).needs_api_key
    assert not wish(billing="flat").needs_api_key


@pytest.mark.parametrize(
    "changes",
    [
        {"customer": ""},
        {"customer": "a\nb"},
        {"customer": "a\x00b"},
        {"customer": " "},
        {"customer": " acme"},
        {"customer": "acme "},
        {"customer": "acme\u202e"},
        {"customer": "acme\u0085"},
        {"customer": "acme\u00a0co"},
        {"customer": "cafe\u0301"},
        {"billing": "free"},
        {"models": []},
        {"models": [""]},
        {"max_sessions": 0},
        {"trust_window_seconds": -1},
        {"valid_seconds": 0},
        {"valid_from": "1969-12-31T23:59:59Z"},
        {"valid_from": "2026-01-01T00:00:00"},
        {"max_session": 3},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        wish(**changes)


@pytest.mark.parametrize("name", ["Rival & Sons", "Caf\u00e9 \u2116 1", "\u682a\u5f0f\u4f1a\u793e"])
def test_names_of_all_the_world_are_taken(name: str) -> None:
    assert wish(customer=name).customer == name


def test_a_license_beyond_the_calendar_cannot_be_issued() -> None:
    with pytest.raises(UnissuableError, match="exp"):
        issue(wish(valid_from="9999-12-31T23:59:00Z"), key=KEY, authority=AUTHORITY, now=NOW)
