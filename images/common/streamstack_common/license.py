"""What a license is and when it is one: a JWT signed by a known key, for us, valid now. No I/O and no clock."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Self

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamstack_common.keyring import ALGORITHMS, Keyring
from streamstack_common.license_status import Billing

AUDIENCE: Final = "streamstack"
MAX_LICENSE_BYTES: Final = 64 * 1024
MAX_QUOTED: Final = 40
"""Longest piece of an unverified header that a message repeats."""

# Seconds since 1970 up to the year 9999: the end of Python's calendar (RFC 7519 "NumericDate", whole seconds only).
NumericDate = Annotated[int, Field(ge=0, le=253_402_300_799)]


class LicenseError(ValueError):
    """The license cannot be used. Messages name what was wrong and what was expected, never the token.

    ``cause`` is a short stable name.
    """

    cause: ClassVar[str]


class MissingLicenseError(LicenseError):
    """There is no such file."""

    cause = "missing_file"


class UnreadableLicenseError(LicenseError):
    """The file cannot be read or is no regular file."""

    cause = "unreadable_file"


class OversizedLicenseError(LicenseError):
    """The file is larger than ``MAX_LICENSE_BYTES``."""

    cause = "oversized_file"


class MalformedLicenseError(LicenseError):
    """Not a JWT."""

    cause = "malformed"


class AlgorithmNotAllowedError(LicenseError):
    """Signed in a way that proves nothing, or not in the way its key is for."""

    cause = "algorithm_not_allowed"


class UnknownKeyError(LicenseError):
    """``kid`` names no key of the ring."""

    cause = "unknown_key"


class ForgedSignatureError(LicenseError):
    """The signature is not the named key's."""

    cause = "forged_signature"


class WrongAudienceError(LicenseError):
    """Issued for another product."""

    cause = "wrong_audience"


class BadClaimsError(LicenseError):
    """Authentic, but a claim is missing or has no sense."""

    cause = "bad_claims"


class NotYetValidError(LicenseError):
    """``nbf`` is still to come."""

    cause = "not_yet_valid"


class ExpiredError(LicenseError):
    """``exp`` has passed."""

    cause = "expired"


class License(BaseModel):
    """The claims of an authentic license; further claims are ignored, so that a newer authority can add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    customer: str = Field(alias="sub", min_length=1, max_length=256)
    license_id: str = Field(alias="jti", min_length=1, max_length=256)
    billing: Billing
    max_sessions: int | None = Field(None, ge=1)
    """Sessions at once in the whole stack; None is no limit."""
    models: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(min_length=1, strict=False)
    """Names of the models that may be served; ``*`` is any."""
    trust_window_seconds: int = Field(ge=0, le=366 * 86_400)
    """How long a good check-in with the authority is trusted after contact is lost."""
    authority: Annotated[str, Field(pattern=r"^https?://[^\s]{1,240}$")] | None = Field(None, alias="iss")
    """Base URL of the authority that issued it and answers check-ins; a proxy may be told another way to it."""
    offline: bool = False
    """Valid by its signature and dates alone: no check-in is asked for, and none is made."""
    nbf: NumericDate
    exp: NumericDate
    iat: NumericDate

    @model_validator(mode="after")
    def _has_a_lifetime(self) -> Self:
        if self.exp <= self.nbf:
            raise ValueError("exp must be later than nbf")
        return self

    @property
    def valid_from(self) -> datetime:
        """First moment of validity."""
        return datetime.fromtimestamp(self.nbf, UTC)

    @property
    def expires_at(self) -> datetime:
        """First moment after validity."""
        return datetime.fromtimestamp(self.exp, UTC)

    def check(self, now: datetime) -> None:
        """Raise :class:`NotYetValidError` or :class:`ExpiredError` outside ``nbf <= now < exp``."""
        if now < self.valid_from:
            raise NotYetValidError(f"valid from {self.valid_from.isoformat()}, and it is {now.isoformat()}")
        if now >= self.expires_at:
            raise ExpiredError(f"expired at {self.expires_at.isoformat()}, and it is {now.isoformat()}")


def verify(token: bytes, keyring: Keyring) -> License:
    """Return the claims of an authentic license, whenever it is valid; see :meth:`License.check`.

    Raises:
        LicenseError: the subclass says why.

    """
    if len(token) > MAX_LICENSE_BYTES:
        raise OversizedLicenseError(f"expected at most {MAX_LICENSE_BYTES} bytes")
    text = token.strip()
    kid = _signing_key_id(text, keyring)
    return _claims(_authentic_payload(text, keyring, kid))


def _signing_key_id(token: bytes, keyring: Keyring) -> str:
    """``kid`` of a known key that is meant for the token's algorithm; nothing is verified yet."""
    try:
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise MalformedLicenseError("expected a JWT: three base64url parts joined by dots") from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise AlgorithmNotAllowedError(f"signed with {_quoted(algorithm)}; expected {' or '.join(ALGORITHMS)}")
    if not isinstance(kid, str) or kid not in keyring.keys:
        raise UnknownKeyError(f"signed with key {_quoted(kid)}; expected one of {', '.join(sorted(keyring.keys))}")
    if algorithm != keyring.keys[kid].algorithm_name:
        raise AlgorithmNotAllowedError(f"signed with {algorithm}; key {kid} is for {keyring.keys[kid].algorithm_name}")
    return kid


def _authentic_payload(token: bytes, keyring: Keyring, kid: str) -> dict[str, Any]:
    key = keyring.keys[kid]
    try:
        # Times are checked by License.check: PyJWT only knows the clock of now.
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=AUDIENCE,
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise ForgedSignatureError(f"the signature is not that of key {kid}") from error
    except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
        raise WrongAudienceError(f"issued for another audience; expected {AUDIENCE!r}") from error
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise MalformedLicenseError("expected a JWT whose payload is a JSON object") from error


def _claims(payload: dict[str, Any]) -> License:
    try:
        return License.model_validate(payload)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'claims'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise BadClaimsError("; ".join(problems)) from None


def _quoted(value: object) -> str:
    """Return a header's value in one printable line of bounded length."""
    text = json.dumps(value)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."
