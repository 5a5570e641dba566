"""What a license is asked to say, and the JWT that says it."""

import secrets
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamstack_common.license import AUDIENCE, License
from streamstack_common.license_status import Billing, Timestamp
from streamstack_license_authority.signing import SigningKey

MAX_VALID_SECONDS: Final = 100 * 366 * 86_400
BACKDATE_SECONDS: Final = 60
"""A license that is valid at once is so from a little earlier: the customer's clock may be behind."""


class UnissuableError(ValueError):
    """No license can say that."""


def _legible(name: str) -> str:
    """Refuse names that look like another one, or like none: usage is summed by name, and people read it."""
    if not name.isprintable():
        raise ValueError("expected printable characters alone: no control characters, no marks that turn text around")
    if name != name.strip():
        raise ValueError("expected no space at its beginning or end")
    if not unicodedata.is_normalized("NFC", name):
        raise ValueError("expected Unicode's normal form C")
    return name


class LicenseWish(BaseModel):
    """Body of ``POST /v1/licenses``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_legible)]
    billing: Billing
    models: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=1, max_length=64)
    ]
    max_sessions: Annotated[int, Field(ge=1, le=2**31)] | None = None
    trust_window_seconds: Annotated[int, Field(ge=0, le=366 * 86_400)]
    offline: bool = False
    valid_from: Timestamp | None = None
    valid_seconds: Annotated[int, Field(ge=1, le=MAX_VALID_SECONDS)]

    @model_validator(mode="after")
    def _is_of_this_age(self) -> Self:
        if self.valid_from is not None and self.valid_from < datetime(1970, 1, 1, tzinfo=UTC):
            raise ValueError("valid_from: expected 1970 or later")
        return self

    @property
    def needs_api_key(self) -> bool:
        """Whether usage is reported over the network under this license."""
        return self.billing == "usage" and not self.offline


@dataclass(frozen=True, slots=True)
class IssuedLicense:
    """A signed license and its claims."""

    token: str
    claims: License


def issue(wish: LicenseWish, *, key: SigningKey, authority: str, now: datetime) -> IssuedLicense:
    """Sign what is wished for.

    Raises:
        UnissuableError: it would not be a license.

    """
    issued = int(now.timestamp())
    start = issued if wish.valid_from is None else int(wish.valid_from.timestamp())
    claims: dict[str, Any] = {
        "aud": AUDIENCE,
        "iss": authority,
        "sub": wish.customer,
        "jti": secrets.token_hex(16),
        "iat": issued,
        "nbf": start - BACKDATE_SECONDS if wish.valid_from is None else start,
        "exp": start + wish.valid_seconds,
        "billing": wish.billing,
        "models": list(wish.models),
        "trust_window_seconds": wish.trust_window_seconds,
        "offline": wish.offline,
        **({} if wish.max_sessions is None else {"max_sessions": wish.max_sessions}),
    }
    try:
        return IssuedLicense(key.sign(claims), License.model_validate(claims))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise UnissuableError("; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in problems)) from None
