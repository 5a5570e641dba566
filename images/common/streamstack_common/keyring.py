"""Public keys that may sign licenses and what a license authority answers: the vendor's, and more where asked for.

A key is for one algorithm, so that no token can choose how it is checked (RFC 8725 3.1).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHMS: Final = ("EdDSA", "RS256")
MIN_RSA_BITS: Final = 2048
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of a JWK that hold a secret (RFC 7518 6.3.2 and 6.4.1, RFC 8037 2)."""


class KeyringError(ValueError):
    """A JWKS cannot be used; the message names its source and what was expected, never key material."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by ``kid``; ``extra`` tells whether some are not the vendor's."""

    keys: Mapping[str, jwt.PyJWK]
    extra: bool = False

    def with_extra(self, more: Mapping[str, jwt.PyJWK]) -> "Keyring":
        """Return a ring with ``more`` keys; a vendor's key cannot be replaced."""
        for kid in more:
            if kid in self.keys:
                raise KeyringError(f"extra keys: kid {kid!r} is the vendor's; expected another name")
        return Keyring({**self.keys, **more}, extra=True)


def parse_jwks(document: bytes, *, source: str) -> dict[str, jwt.PyJWK]:
    """Keys of a JWKS (RFC 7517): Ed25519 or RSA of at least 2048 bits, public halves only, each with its ``kid``."""
    try:
        parsed: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise KeyringError(f"{source}: expected a JWKS, got no JSON") from error
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list) or not entries:
        raise KeyringError(f'{source}: expected a JWKS, an object with a non-empty list "keys"')
    keys: dict[str, jwt.PyJWK] = {}
    for index, entry in enumerate(entries):
        kid, key = _parse_key(entry, where=f"{source}: keys[{index}]")
        if kid in keys:
            raise KeyringError(f"{source}: keys[{index}]: kid {kid!r} appears twice")
        keys[kid] = key
    return keys


def _parse_key(entry: Any, *, where: str) -> tuple[str, jwt.PyJWK]:
    if not isinstance(entry, dict):
        raise KeyringError(f"{where}: expected an object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid:
        raise KeyringError(f"{where}: expected a kid")
    if not PRIVATE_MEMBERS.isdisjoint(entry):
        raise KeyringError(f"{where}: holds a secret; expected a public key only")
    algorithm = {"OKP": "EdDSA", "RSA": "RS256"}.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        raise KeyringError(f"{where}: expected an Ed25519 or RSA key for signatures with EdDSA or RS256")
    try:
        key = jwt.PyJWK(entry, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise KeyringError(f"{where}: not a usable key") from error
    strong_rsa = isinstance(key.key, RSAPublicKey) and key.key.key_size >= MIN_RSA_BITS
    if not (isinstance(key.key, Ed25519PublicKey) or strong_rsa):
        raise KeyringError(f"{where}: expected an Ed25519 key or an RSA key of at least {MIN_RSA_BITS} bits")
    return kid, key
