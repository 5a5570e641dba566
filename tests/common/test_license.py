import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.keyring import Keyring
from streamstack_common.license import (
    MAX_LICENSE_BYTES,
    AlgorithmNotAllowedError,
    BadClaimsError,
    ExpiredError,
    ForgedSignatureError,
    LicenseError,
    MalformedLicenseError,
    NotYetValidError,
    OversizedLicenseError,
    UnknownKeyError,
    WrongAudienceError,
    verify,
)
from support.signer import EXP, NBF, Signer, base64url, claims

SIGNER = Signer()
RSA_SIGNER = Signer("rsa-1", rsa_bits=2048)


@pytest.mark.parametrize("signer", [SIGNER, RSA_SIGNER], ids=["EdDSA", "RS256"])
def test_a_signed_license_gives_its_claims(signer: Signer) -> None:
    license_ = verify(signer.token(), signer.keyring())

    assert license_.customer == "acme"
    assert license_.billing == "usage"
    assert license_.max_sessions == 100
    assert license_.models == ("english", "multilingual")
    assert license_.trust_window_seconds == 345_600
    assert license_.license_id == "license-1"
    assert license_.expires_at == datetime.fromtimestamp(EXP, UTC)


def test_a_license_without_a_session_limit_has_none() -> None:
    assert verify(SIGNER.token(max_sessions=None), SIGNER.keyring()).max_sessions is None


def test_a_claim_of_a_newer_authority_and_white_space_around_the_token_are_ignored() -> None:
    assert verify(b"\n " + SIGNER.token(colour="blue") + b"\r\n", SIGNER.keyring()).customer == "acme"


def test_one_of_several_audiences_is_enough() -> None:
    assert verify(SIGNER.token(aud=["other", "streamstack"]), SIGNER.keyring()).customer == "acme"


def test_validity_includes_its_first_moment_and_excludes_its_last() -> None:
    license_ = verify(SIGNER.token(), SIGNER.keyring())
    start, end, tick = license_.valid_from, license_.expires_at, timedelta(microseconds=1)

    license_.check(start)
    license_.check(end - tick)
    with pytest.raises(NotYetValidError, match="valid from 2027-"):
        license_.check(start - tick)
    with pytest.raises(ExpiredError, match="expired at 2027-"):
        license_.check(end)


def test_a_changed_payload_is_a_forgery() -> None:
    header, _, signature = SIGNER.token().split(b".")
    payload = base64url(json.dumps(claims(max_sessions=1_000_000)).encode()).encode()
    forged = b".".join([header, payload, signature])
    with pytest.raises(ForgedSignatureError, match="key test-1") as caught:
        verify(forged, SIGNER.keyring())
    assert not any(part.decode() in str(caught.value) for part in forged.split(b"."))


def test_another_key_under_a_known_name_is_a_forgery() -> None:
    with pytest.raises(ForgedSignatureError):
        verify(Signer("test-1").token(), SIGNER.keyring())


def test_a_license_without_signature_is_refused() -> None:
    unsigned = jwt.encode(claims(), None, algorithm="none", headers={"kid": SIGNER.kid}).encode()
    with pytest.raises(AlgorithmNotAllowedError, match='signed with "none"; expected EdDSA or RS256'):
        verify(unsigned, SIGNER.keyring())


@pytest.mark.parametrize(
    "algorithm", ["None", "nOnE", "", "HS256", "ES256", "PS256", "RS384", "RS512", 7, None, ["EdDSA"]]
)
def test_any_other_algorithm_in_the_header_is_refused(algorithm: object) -> None:
    header = base64url(json.dumps({"alg": algorithm, "kid": SIGNER.kid}).encode())
    payload = base64url(json.dumps(claims()).encode())
    with pytest.raises((AlgorithmNotAllowedError, MalformedLicenseError)):
        verify(f"{header}.{payload}.AAAA".encode(), SIGNER.keyring())


@pytest.mark.parametrize("claimed", ["HS256", "RS256", "EdDSA"])
def test_the_public_key_is_no_shared_secret(claimed: str) -> None:
    """RS256 turned into HS256: the public key, which everybody has, as the secret of an HMAC."""
    pem = RSA_SIGNER.private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = base64url(json.dumps({"alg": claimed, "kid": RSA_SIGNER.kid}).encode())
    signed = f"{header}.{base64url(json.dumps(claims()).encode())}"
    mac = base64url(hmac.new(pem, signed.encode(), hashlib.sha256).digest())
    with pytest.raises((AlgorithmNotAllowedError, ForgedSignatureError)):
        verify(f"{signed}.{mac}".encode(), RSA_SIGNER.keyring())


def test_a_key_is_for_one_algorithm() -> None:
    both = Keyring({**SIGNER.keyring().keys, **RSA_SIGNER.keyring().keys})
    with pytest.raises(AlgorithmNotAllowedError, match="key rsa-1 is for RS256"):
        verify(SIGNER.sign(claims(), kid="rsa-1"), both)


def test_a_key_inside_the_header_is_not_used() -> None:
    stranger = Signer("test-1")
    with pytest.raises(ForgedSignatureError):
        verify(stranger.sign(claims(), jwk=stranger.jwk()), SIGNER.keyring())


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownKeyError, match='signed with key "other"; expected one of test-1'):
        verify(Signer("other").token(), SIGNER.keyring())


def test_a_license_without_key_id_is_refused() -> None:
    token = jwt.encode(claims(), SIGNER.private_key, algorithm="EdDSA").encode()
    with pytest.raises(UnknownKeyError, match="signed with key null"):
        verify(token, SIGNER.keyring())


@pytest.mark.parametrize("audience", [None, "gateway", ["other"], [], "Streamstack", 5])
def test_another_audience_is_refused(audience: object) -> None:
    with pytest.raises(WrongAudienceError, match="expected 'streamstack'"):
        verify(SIGNER.token(aud=audience), SIGNER.keyring())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", None),
        ("sub", ""),
        ("sub", 5),
        ("jti", None),
        ("billing", None),
        ("billing", "free"),
        ("max_sessions", 0),
        ("max_sessions", "100"),
        ("max_sessions", 1.5),
        ("max_sessions", True),
        ("models", None),
        ("models", []),
        ("models", "english"),
        ("models", [""]),
        ("models", [5]),
        ("trust_window_seconds", None),
        ("trust_window_seconds", -1),
        ("trust_window_seconds", 10**9),
        ("nbf", None),
        ("exp", None),
        ("iat", None),
        ("exp", 10**12),
        ("exp", "2030-01-01T00:00:00Z"),
        ("exp", -5),
        ("nbf", 1.5),
    ],
)
def test_a_bad_claim_is_named(name: str, value: object) -> None:
    with pytest.raises(BadClaimsError, match=rf"\b{name}"):
        verify(SIGNER.token(**{name: value}), SIGNER.keyring())


def test_a_license_must_have_a_lifetime() -> None:
    with pytest.raises(BadClaimsError, match="exp must be later than nbf"):
        verify(SIGNER.token(exp=NBF), SIGNER.keyring())


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"\xff\xfe.a.b",
        b"not a token at all",
        base64.urlsafe_b64encode(b"[" * 30_000) + b".e30.e30",
        base64.urlsafe_b64encode(b"[]") + b".e30.e30",
    ],
    ids=["empty", "dots", "two parts", "four parts", "binary", "prose", "deep", "list header"],
)
def test_what_is_no_jwt_is_malformed(token: bytes) -> None:
    with pytest.raises(MalformedLicenseError):
        verify(token, SIGNER.keyring())


@pytest.mark.parametrize("payload", [b"[]", b"nothing", b"\xff", b'{"a":' * 9_000])
def test_a_signed_payload_that_is_no_object_is_malformed(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, SIGNER.private_key, algorithm="EdDSA", headers={"kid": SIGNER.kid})
    with pytest.raises(MalformedLicenseError):
        verify(token.encode(), SIGNER.keyring())


def test_an_unknown_critical_header_is_refused() -> None:
    with pytest.raises(LicenseError):
        verify(SIGNER.sign(claims(), crit=["must"], must=1), SIGNER.keyring())


def test_an_oversized_token_is_refused() -> None:
    with pytest.raises(OversizedLicenseError, match="at most 65536 bytes"):
        verify(b"a" * (MAX_LICENSE_BYTES + 1), SIGNER.keyring())


def test_messages_quote_little_and_in_one_line() -> None:
    token = SIGNER.sign(claims(), kid="evil\nlicense Failed -> Ready" + "x" * 1000)
    with pytest.raises(UnknownKeyError) as caught:
        verify(token, SIGNER.keyring())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_a_license_error(token: bytes) -> None:
    with pytest.raises(LicenseError):
        verify(token, SIGNER.keyring())


@given(st.data())
def test_no_single_changed_byte_is_accepted_with_other_claims(data: st.DataObject) -> None:
    token = bytearray(SIGNER.token())
    index = data.draw(st.integers(0, len(token) - 1))
    token[index] = data.draw(st.integers(0, 255))
    try:
        license_ = verify(bytes(token), SIGNER.keyring())
    except LicenseError:
        return
    # Base64url's last characters carry spare bits: another spelling of the same bytes.
    assert license_ == verify(SIGNER.token(), SIGNER.keyring())
