"""A license authority for tests: a key of its own, and tokens that are wrong in exactly the ways asked for."""

import base64
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.keyring import Keyring, parse_jwks

NBF = 1_800_000_000
EXP = NBF + 1_000_000


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None leaves a claim out."""
    good: dict[str, Any] = {
        "aud": "streamstack",
        "sub": "acme",
        "jti": "license-1",
        "iat": NBF,
        "nbf": NBF,
        "exp": EXP,
        "billing": "usage",
        "max_sessions": 100,
        "models": ["english", "multilingual"],
        "trust_window_seconds": 345_600,
        "offline": True,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


class Signer:
    """One signing key, Ed25519 or RSA."""

    def __init__(self, kid: str = "test-1", *, rsa_bits: int | None = None) -> None:
        self.kid = kid
        self.algorithm = "EdDSA" if rsa_bits is None else "RS256"
        self.private_key: Ed25519PrivateKey | rsa.RSAPrivateKey = (
            Ed25519PrivateKey.generate()
            if rsa_bits is None
            else rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
        )

    def jwk(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        public: dict[str, Any] = algorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return {**public, "kid": self.kid}

    def jwks(self) -> bytes:
        return json.dumps({"keys": [self.jwk()]}).encode()

    def keyring(self) -> Keyring:
        return Keyring(parse_jwks(self.jwks(), source="test"))

    def sign(self, payload: dict[str, Any], **header: Any) -> bytes:
        headers = {"kid": self.kid, **header}
        return jwt.encode(payload, self.private_key, algorithm=self.algorithm, headers=headers).encode()

    def token(self, **changes: Any) -> bytes:
        return self.sign(claims(**changes))
