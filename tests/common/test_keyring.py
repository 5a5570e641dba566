import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.keyring import KeyringError, parse_jwks
from streamstack_license_proxy.vendor_keys import vendor_keyring
from support.signer import Signer, base64url

SIGNER = Signer()


def parse(*keys: Any) -> object:
    return parse_jwks(json.dumps({"keys": keys}).encode(), source="extra")


def test_the_package_ships_the_vendors_public_key_only() -> None:
    ring = vendor_keyring()
    assert set(ring.keys) == {"vendor-2026-1"}
    assert ring.keys["vendor-2026-1"].algorithm_name == "EdDSA"
    assert not ring.extra


def test_extra_keys_join_and_are_told() -> None:
    ring = vendor_keyring().with_extra(parse_jwks(SIGNER.jwks(), source="extra"))
    assert set(ring.keys) == {"vendor-2026-1", "test-1"}
    assert ring.extra


def test_an_extra_key_cannot_replace_the_vendors() -> None:
    with pytest.raises(KeyringError, match="kid 'vendor-2026-1' is the vendor's"):
        vendor_keyring().with_extra(parse_jwks(Signer("vendor-2026-1").jwks(), source="extra"))


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b"{}", b'{"keys": []}', b'{"keys": {}}', b'{"keys": [5]}', b"\xff", b"[" * 50_000],
)
def test_what_is_no_jwks_is_refused(document: bytes) -> None:
    with pytest.raises(KeyringError, match=r"extra: .*expected"):
        parse_jwks(document, source="extra")


def test_a_key_needs_a_name_of_its_own() -> None:
    jwk = SIGNER.jwk()
    with pytest.raises(KeyringError, match=r"keys\[1\]: kid 'test-1' appears twice"):
        parse(jwk, jwk)
    for kid in (None, "", 5):
        with pytest.raises(KeyringError, match=r"keys\[0\]: expected a kid"):
            parse({**jwk, "kid": kid})


def test_secrets_are_refused_and_never_repeated() -> None:
    secret = base64url(b"0123456789abcdef0123456789abcdef")
    for leaked in ({**SIGNER.jwk(), "d": secret}, {"kty": "oct", "kid": "s", "k": secret}):
        with pytest.raises(KeyringError, match="holds a secret") as caught:
            parse(leaked)
        assert secret not in str(caught.value)


def test_weak_or_foreign_keys_are_refused() -> None:
    short = Signer("short", rsa_bits=1024).jwk()
    ed448_key = ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw()
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    coordinates = {"x": base64url(numbers.x.to_bytes(32)), "y": base64url(numbers.y.to_bytes(32))}
    for entry in (
        short,
        {"kty": "OKP", "crv": "Ed448", "kid": "e", "x": base64url(ed448_key)},
        {"kty": "EC", "crv": "P-256", "kid": "c", **coordinates},
        {**SIGNER.jwk(), "alg": "HS256"},
        {**SIGNER.jwk(), "use": "enc"},
        {**SIGNER.jwk(), "x": "AAAA"},
        {**SIGNER.jwk(), "x": 5},
        {"kty": "RSA", "kid": "r", "n": "AQAB"},
    ):
        with pytest.raises(KeyringError, match=r"extra: keys\[0\]"):
            parse(entry)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "kid", "x", "n", "e", "alg", "use"]),
        st.sampled_from(["OKP", "RSA", "Ed25519", "AQAB", "AAAA", "EdDSA", "sig", "", "é", None, 7, [], {}]),
    )
)
def test_any_object_gives_keys_or_a_keyring_error(entry: dict[str, Any]) -> None:
    with pytest.raises(KeyringError):
        parse(entry)
