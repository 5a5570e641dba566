"""A license for one machine and a short time, for trying a stack out without a vendor.

The license proxy accepts it only where it is told to with ``LICENSE_EXTRA_KEYS_FILE``, and then shows it.
"""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIFETIME_SECONDS: Final = 86_400
BACKDATE_SECONDS: Final = 60
"""Valid from a little earlier, so that a clock that is stepped back does not undo it."""


@dataclass(frozen=True, slots=True)
class ThrowawayLicense:
    """Two files: ``LICENSE_FILE_PATH`` and ``LICENSE_EXTRA_KEYS_FILE`` of a license proxy."""

    license_file: Path
    keys_file: Path


def make(folder: Path, *, lifetime_seconds: int = LIFETIME_SECONDS) -> ThrowawayLicense:
    """Write a new license and the public half of its key into an existing folder; the private half is never written.

    It holds for ``lifetime_seconds``, a day unless told otherwise.
    """
    key = Ed25519PrivateKey.generate()
    kid = f"throwaway-{secrets.token_hex(4)}"
    issued = int(time.time())
    token = jwt.encode(
        {
            "aud": "streamstack",
            "sub": "throwaway",
            "jti": secrets.token_hex(16),
            "iat": issued,
            "nbf": issued - BACKDATE_SECONDS,
            "exp": issued + lifetime_seconds,
            "billing": "flat",
            "max_sessions": 10_000,
            "models": ["*"],
            "trust_window_seconds": LIFETIME_SECONDS,
            "offline": True,
        },
        key,
        algorithm="EdDSA",
        headers={"kid": kid},
    )
    made = ThrowawayLicense(folder / "license.jwt", folder / "license-keys.jwks.json")
    # The keys first: a proxy that already watches the license would refuse one of an unknown key.
    made.keys_file.write_text(json.dumps({"keys": [_public_jwk(key, kid)]}, indent=2) + "\n", encoding="utf-8")
    made.license_file.write_text(token + "\n", encoding="ascii")
    return made


def _public_jwk(key: Ed25519PrivateKey, kid: str) -> dict[str, str]:
    """RFC 8037 2: the raw public key in base64url without padding."""
    x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x}
