"""The keys that sign licenses and answers: read from files or made at the first start; only public halves leave."""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from streamstack_common.keyring import MIN_RSA_BITS, Keyring, parse_jwks

MAX_KEY_BYTES: Final = 64 * 1024


class SigningKeyError(ValueError):
    """A signing key cannot be used; the message names its file and what was expected, never key material."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key and its name."""

    kid: str
    private_key: Ed25519PrivateKey | RSAPrivateKey = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The one algorithm that it signs with (RFC 8725 3.1)."""
        return "EdDSA" if isinstance(self.private_key, Ed25519PrivateKey) else "RS256"

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a JWT."""
        return jwt.encode(dict(claims), self.private_key, algorithm=self.algorithm, headers={"kid": self.kid})

    def jwk(self) -> dict[str, str]:
        """Return the public half (RFC 7517)."""
        return {**_public_members(self.private_key), "kid": self.kid, "use": "sig", "alg": self.algorithm}


class SigningKeys:
    """The key that signs new licenses, and former ones: what a license's own key signed, its holder can verify."""

    def __init__(self, current: SigningKey, former: Iterable[SigningKey] = ()) -> None:
        self.current = current
        self._by_kid = {current.kid: current}
        for key in former:
            if key.kid in self._by_kid:
                raise SigningKeyError(f"two signing keys are named {key.kid!r}; expected a name for each")
            self._by_kid[key.kid] = key
        self.jwks: dict[str, list[dict[str, str]]] = {"keys": [key.jwk() for key in self._by_kid.values()]}
        self.keyring = Keyring(parse_jwks(json.dumps(self.jwks).encode(), source="signing keys"))

    def signer_of(self, token: str) -> SigningKey:
        """Return the key that signed a token which ``keyring`` has verified."""
        return self._by_kid[jwt.get_unverified_header(token)["kid"]]


def read_key(path: Path, *, kid: str | None = None) -> SigningKey:
    """Return the key of a PEM file, named by its thumbprint (RFC 7638) unless told otherwise.

    Raises:
        SigningKeyError: there is no such file, or no such key in it.

    """
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise SigningKeyError(f"signing key {path}: {error.strerror}") from error
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningKeyError(f"signing key {path}: expected a private key in PEM, without a password") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise SigningKeyError(f"signing key {path}: {key.key_size} bits; expected at least {MIN_RSA_BITS}")
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise SigningKeyError(f"signing key {path}: expected an Ed25519 or an RSA key")
    return SigningKey(kid or _thumbprint(key), key)


def read_or_make_key(path: Path, *, kid: str | None = None) -> SigningKey:
    """Return the key of a file, made with mode 0600 where there is none."""
    if not path.exists():
        try:
            _make_key(path)
        except OSError as error:
            raise SigningKeyError(f"signing key {path}: cannot be made: {error.strerror}") from error
    return read_key(path, kid=kid)


def _make_key(path: Path) -> None:
    """Write a new key whole or not at all; where another process was faster, its key stays."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _public_members(key: Ed25519PrivateKey | RSAPrivateKey) -> dict[str, str]:
    """What a JWK must have of a public key: RFC 8037 2, RFC 7518 6.3.1."""
    if isinstance(key, Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_key().public_bytes_raw())}
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": _base64url_integer(numbers.n), "e": _base64url_integer(numbers.e)}


def _thumbprint(key: Ed25519PrivateKey | RSAPrivateKey) -> str:
    """RFC 7638 3: SHA-256 over the required members in lexicographic order, without white space."""
    canonical = json.dumps(_public_members(key), sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _base64url_integer(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
