"""What the license proxy's ``GET /v1/status`` and ``GET /v1/license`` answer: read by gateways and the operator.

Field names, states and the timestamps' format are the seed's (reference/assemblyai-protocol.md 13.5).
"""

from datetime import UTC, datetime
from enum import StrEnum
from operator import not_
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

STATUS_PATH: Final = "/v1/status"
LICENSE_PATH: Final = "/v1/license"

Billing = Literal["flat", "usage"]
"""``flat`` reports no usage."""


class LicenseState(StrEnum):
    """The license as the proxy sees it."""

    READY = "Ready"
    """Valid, no check-in with the authority was ever tried."""
    CONNECTED = "Connected"
    """The last check-in was good."""
    TRUST_BASED = "TrustBased"
    """The last check-in failed, an earlier one is still trusted."""
    FAILED = "Failed"
    """Not valid, or trusted no longer: no new sessions."""


def format_timestamp(moment: datetime) -> str:
    """Return an aware moment as ``2026-01-01T12:00:00.000000Z``, always with microseconds and in UTC."""
    # Not strftime: its %Y is not padded here, and a year below 1000 could not be read back.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a moment within the calendar") from error


Timestamp = Annotated[
    AwareDatetime, AfterValidator(_to_utc), PlainSerializer(format_timestamp, return_type=str, when_used="json")
]


class LicenseStatus(BaseModel):
    """Body of ``/v1/status``: exactly the seed's three fields, and ``extra_keys`` only where it is true."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: LicenseState
    last_successful_checkin: Timestamp | None
    trust_expiration: Timestamp | None
    extra_keys: bool = Field(False, exclude_if=not_)
    """Keys beside the vendor's are accepted (``LICENSE_EXTRA_KEYS_FILE``)."""


class LicenseReport(BaseModel):
    """Body of ``/v1/license``: the status, the authentic license whether valid now or not, and why it is Failed.

    What a gateway asks for: ``billing``, ``max_sessions`` (of the whole stack, None is no limit) and ``models`` (``*``
    is any) are what it enforces. All of them are None without an authentic license.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: LicenseState
    last_successful_checkin: Timestamp | None = None
    trust_expiration: Timestamp | None = None
    customer: str | None = None
    license_id: str | None = None
    billing: Billing | None = None
    max_sessions: Annotated[int, Field(ge=1)] | None = None
    models: tuple[str, ...] | None = None
    trust_window_seconds: int | None = None
    offline: bool | None = None
    valid_from: Timestamp | None = None
    expires_at: Timestamp | None = None
    cause: str | None = None
    reason: str | None = None
