"""API keys of customers (``USAGE_TRACKING_API_KEY``): shown once, kept as a hash, compared in constant time."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_SHAPE: Final = re.compile(r"ssk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key: ``key_id`` finds it, ``secret`` proves it."""

    key_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """What the customer is given and sends."""
        return f"ssk_{self.key_id}_{self.secret}"

    @property
    def secret_hash(self) -> bytes:
        """What is kept: SHA-256 is enough for 256 random bits, which nobody can guess."""
        return hashlib.sha256(self.secret.encode()).digest()

    def matches(self, kept: bytes) -> bool:
        """Whether this is the key of which ``kept`` is the hash."""
        return hmac.compare_digest(self.secret_hash, kept)


def new_api_key() -> ApiKey:
    """Make a key."""
    return ApiKey(secrets.token_hex(8), secrets.token_hex(32))


def parse_bearer(header: str | None) -> ApiKey | None:
    """Return the key in an ``Authorization`` header, None where there is none or it has another shape."""
    scheme, _, token = (header or "").partition(" ")
    match = _SHAPE.fullmatch(token)
    return ApiKey(match[1], match[2]) if scheme.lower() == "bearer" and match else None
