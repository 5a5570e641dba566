import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_license_authority.signing import (
    SigningKey,
    SigningKeyError,
    SigningKeys,
    read_key,
    read_or_make_key,
)


def write(path: Path, key: object, *, password: bytes | None = None) -> Path:
    assert isinstance(key, Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
    return path


def test_a_key_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key.pem"
    made = read_or_make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]
    again = read_or_make_key(path)
    assert (again.kid, again.jwk()) == (made.kid, made.jwk())


def test_of_several_starting_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        kids = {key.kid for key in threads.map(read_or_make_key, [tmp_path / "key.pem"] * 32)}
    assert len(kids) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_a_name_follows_from_the_key_unless_one_is_given(tmp_path: Path) -> None:
    # The key and its thumbprint of RFC 8037 A.1 and A.3.
    raw = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    path = write(tmp_path / "key.pem", Ed25519PrivateKey.from_private_bytes(raw))
    assert read_key(path).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert read_key(path, kid="mine").kid == "mine"


def test_rsa_keys_sign_with_rs256(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    keys = SigningKeys(read_key(path))
    token = keys.current.sign({"sub": "x"})
    kid = keys.current.kid
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": kid, "typ": "JWT"}
    assert jwt.decode(token, keys.keyring.keys[kid], algorithms=["RS256"]) == {"sub": "x"}


def test_former_keys_are_told_and_sign_for_those_who_have_no_other() -> None:
    new, old = (SigningKey(name, Ed25519PrivateKey.generate()) for name in ("new", "old"))
    keys = SigningKeys(new, [old])
    assert [entry["kid"] for entry in keys.jwks["keys"]] == ["new", "old"]
    assert keys.signer_of(old.sign({})) is old
    with pytest.raises(SigningKeyError, match="'new'"):
        SigningKeys(new, [SigningKey("new", Ed25519PrivateKey.generate())])


def test_nothing_secret_is_told() -> None:
    key = SigningKey("one", Ed25519PrivateKey.generate())
    assert set(key.jwk()) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert "object at" not in repr(key)
    assert key.private_key.private_bytes_raw().hex() not in repr(key)  # type: ignore[union-attr]


def test_what_is_no_usable_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    files = {
        "expected a private key in PEM": tmp_path / "garbage",
        "without a password": write(tmp_path / "locked", Ed25519PrivateKey.generate(), password=b"x"),
        "1024 bits": write(tmp_path / "weak", rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - that is the point
        "an Ed25519 or an RSA key": write(tmp_path / "curve", ec.generate_private_key(ec.SECP256R1())),
        "No such file": tmp_path / "absent",
    }
    (tmp_path / "garbage").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n")
    for complaint, path in files.items():
        with pytest.raises(SigningKeyError, match=complaint) as caught:
            read_key(path)
        assert str(path) in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_take_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SigningKeyError, match=r"file/key\.pem"):
        read_or_make_key(tmp_path / "file" / "key.pem")
