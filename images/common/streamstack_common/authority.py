"""What a license proxy and a license authority say to each other (``docs/license-authority.md`` has all of its API).

A check-in is answered by a JWT of the authority's signing key over the proxy's own nonce: whoever stands between, with
whatever certificate, cannot answer for it or answer twice. Usage goes up as a journal's chained records: the authority
takes each once and knows when one is missing.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

CHECKINS_PATH: Final = "/v1/checkins"
JOURNALS_PATH: Final = "/v1/journals"
"""``POST /v1/journals/{journal_id}/records`` takes an upload."""

CHECKIN_AUDIENCE: Final = "streamstack-checkin"
MAX_RECORDS: Final = 500
"""Records of one upload."""
MAX_UPLOAD_BYTES: Final = 1024 * 1024
MAX_ANSWER_BYTES: Final = 64 * 1024

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
JournalId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class CheckIn(BaseModel):
    """Body of ``POST /v1/checkins``. With usage billing ``Authorization: Bearer`` carries the customer's API key."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    license: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
    instance_id: Annotated[str, Field(min_length=1, max_length=64)]


class CheckInAnswer(BaseModel):
    """Body of its answer 200: a JWT with :class:`Verdict` as its claims, signed by a key of the license's keyring.

    401: the API key is not the customer's. 422: the license is none of this authority's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    answer: Annotated[str, Field(min_length=1, max_length=MAX_ANSWER_BYTES)]


class Verdict(BaseModel):
    """What the authority says of a license; ``iat`` is its clock, ``nonce`` the proxy's."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    aud: Literal["streamstack-checkin"] = CHECKIN_AUDIENCE
    license_id: Annotated[str, Field(alias="sub", min_length=1, max_length=256)]
    nonce: str
    iat: Annotated[int, Field(ge=0, le=253_402_300_799)]
    verdict: Literal["good", "revoked"]


class Upload(BaseModel):
    """Body of ``POST /v1/journals/{journal_id}/records``: records ``first``, ``first`` + 1 and so on.

    ``after`` is the hash of the record before the first (``usage.chain_start`` before record 1), ``head`` that of the
    last. A body is a report's JSON as a string, exactly as it was hashed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    first: Annotated[int, Field(ge=1)]
    after: Hash
    head: Hash
    records: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=MAX_RECORDS)]


class UploadAnswer(BaseModel):
    """Answer 200: everything before record ``next`` is in the ledger.

    409 has the same body with ``problem``: ``gap``, records from ``next`` on are missing before these; ``fork``, record
    ``next`` - 1 or an earlier one is known with another hash.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    next: Annotated[int, Field(ge=1)]
    problem: Literal["gap", "fork"] | None = None
