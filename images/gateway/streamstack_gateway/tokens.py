"""Temporary tokens for clients that must not hold a key of their own, such as browsers (protocol reference 2.1). Pure.

A token opens sessions until it expires, any number of them; it does not end one that is open. Every gateway of a stack
has the same key, which is used for nothing else.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated, Final

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamstack_gateway import errors

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "streamstack/v3"
MINIMUM_KEY_BYTES: Final = 32
"""RFC 7518 3.2: a key as long as the hash at least."""


class TokenKeyError(ValueError):
    """The key cannot be used; the message says what was expected, never the key."""


class TokenRequest(BaseModel):
    """The query of ``GET /v3/token``; seconds."""

    model_config = ConfigDict(extra="ignore")

    expires_in_seconds: int = Field(ge=1, le=600)
    max_session_duration_seconds: int = Field(10_800, ge=60, le=10_800)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential allows; None is no limit of its own."""

    max_session_seconds: int | None = None


class _Claims(BaseModel):
    expires_at: Annotated[int, Field(alias="exp")]
    max_session_seconds: Annotated[int, Field(alias="max", ge=60, le=10_800)]


class Tokens:
    """Issues and opens tokens of one key. Raises TokenKeyError."""

    def __init__(self, key: bytes) -> None:
        if len(key) < MINIMUM_KEY_BYTES:
            raise TokenKeyError(f"{len(key)} bytes, expected at least {MINIMUM_KEY_BYTES}")
        self._key = key

    def issue(self, request: TokenRequest, now_seconds: int) -> str:
        """A token that opens sessions until ``expires_in_seconds`` after ``now_seconds`` (Unix time)."""
        claims = {
            "aud": AUDIENCE,
            "exp": now_seconds + request.expires_in_seconds,
            "jti": secrets.token_urlsafe(8),
            "max": request.max_session_duration_seconds,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def open(self, token: str, now_seconds: float) -> Grant:
        """What the token allows. Raises SessionError 1008: not one of ours, or expired."""
        try:
            # The time is checked below, by the clock that is passed in.
            options: jwt.types.Options = {"require": ["exp", "aud"], "verify_exp": False}
            claims = _Claims.model_validate(
                jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, options=options)
            )
        except (jwt.InvalidTokenError, ValidationError):
            raise errors.invalid_authorization() from None
        if now_seconds >= claims.expires_at:
            raise errors.expired_authorization()
        return Grant(claims.max_session_seconds)
