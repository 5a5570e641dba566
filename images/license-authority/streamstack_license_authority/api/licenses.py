"""Administrators issue and revoke licenses."""

import logging
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from streamstack_common.license import License
from streamstack_common.license_status import Billing, Timestamp
from streamstack_license_authority.api.bodies import parse_model, read_body, read_model, takes
from streamstack_license_authority.api.errors import ApiError, describe
from streamstack_license_authority.api.security import admin_only
from streamstack_license_authority.api_keys import new_api_key
from streamstack_license_authority.issuing import LicenseWish, UnissuableError, issue
from streamstack_license_authority.ledger.licenses import (
    LicenseRow,
    OfflineLicenseError,
    add_license,
    find_license,
    revoke_license,
)
from streamstack_license_authority.parts import Parts, moment, now_ms

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024
LicenseId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


class Issued(BaseModel):
    """Answer 201: the only time that the license and the API key are shown."""

    license_id: str
    license: str
    api_key: str | None
    """Only where usage is reported over the network: ``USAGE_TRACKING_API_KEY``."""
    valid_from: Timestamp
    expires_at: Timestamp


class RevokeWish(BaseModel):
    """Body of a revocation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")] | None = None


class LicenseFacts(BaseModel):
    """What the ledger knows of a license."""

    license_id: str
    customer: str
    billing: Billing
    models: tuple[str, ...]
    max_sessions: int | None
    trust_window_seconds: int
    offline: bool
    valid_from: Timestamp
    expires_at: Timestamp
    issued_at: Timestamp
    revoked_at: Timestamp | None
    revoke_reason: str | None
    last_checkin_at: Timestamp | None
    """Within a minute."""
    last_instance_id: str | None
    """What the license proxy called itself then."""


def router(parts: Parts) -> APIRouter:
    """Return the routes under ``/v1/licenses``."""
    routes = APIRouter(prefix="/v1/licenses", tags=["licenses"], dependencies=[admin_only(parts)])

    @routes.post("", status_code=201, openapi_extra=takes(LicenseWish), responses=describe(401, 408, 413, 422, 503))
    async def issue_license(request: Request) -> Issued:
        """Issue a license, valid from now on unless told otherwise."""
        wish = await read_model(request, LicenseWish, limit=MAX_BODY_BYTES)
        try:
            made = issue(wish, key=parts.keys.current, authority=parts.public_url, now=datetime.now(UTC))
        except UnissuableError as error:
            raise ApiError(422, str(error)) from error
        api_key = new_api_key() if wish.needs_api_key else None

        def add() -> None:
            with parts.database.writing() as connection:
                add_license(connection, claims=made.claims, api_key=api_key, now_ms=now_ms())

        await parts.database.run(add)
        log.info("license %s issued to %r", made.claims.license_id, made.claims.customer)
        return Issued(
            license_id=made.claims.license_id,
            license=made.token,
            api_key=api_key.text if api_key else None,
            valid_from=made.claims.valid_from,
            expires_at=made.claims.expires_at,
        )

    @routes.get("/{license_id}", responses=describe(401, 404, 422, 503))
    async def show_license(license_id: LicenseId) -> LicenseFacts:
        """Tell what is known of a license."""

        def find() -> LicenseRow | None:
            with parts.database.reading() as connection:
                return find_license(connection, license_id)

        return _facts(await parts.database.run(find), license_id)

    @routes.post(
        "/{license_id}/revoke",
        openapi_extra=takes(RevokeWish),
        responses=describe(401, 404, 408, 409, 413, 422, 503),
    )
    async def revoke(license_id: LicenseId, request: Request) -> LicenseFacts:
        """Revoke a license: its check-ins fail from now on. Again, it changes nothing.

        Nobody ever asks about an offline license: 409, and nothing is revoked.
        """
        body = await read_body(request, limit=MAX_BODY_BYTES)
        wish = parse_model(body, RevokeWish) if body else RevokeWish()

        def write() -> LicenseRow | None:
            with parts.database.writing() as connection:
                revoke_license(connection, license_id, reason=wish.reason, now_ms=now_ms())
                return find_license(connection, license_id)

        try:
            facts = _facts(await parts.database.run(write), license_id)
        except OfflineLicenseError as error:
            raise ApiError(409, str(error)) from error
        log.info("license %s of %r is revoked", license_id, facts.customer)
        return facts

    return routes


def _facts(row: LicenseRow | None, license_id: str) -> LicenseFacts:
    if row is None:
        raise ApiError(404, f"license {license_id}: expected one that this authority issued")
    claims: License = row.claims
    return LicenseFacts(
        license_id=claims.license_id,
        customer=claims.customer,
        billing=claims.billing,
        models=claims.models,
        max_sessions=claims.max_sessions,
        trust_window_seconds=claims.trust_window_seconds,
        offline=claims.offline,
        valid_from=claims.valid_from,
        expires_at=claims.expires_at,
        issued_at=moment(row.issued_at_ms),
        revoked_at=None if row.revoked_at_ms is None else moment(row.revoked_at_ms),
        revoke_reason=row.revoke_reason,
        last_checkin_at=None if row.last_checkin_ms is None else moment(row.last_checkin_ms),
        last_instance_id=row.last_instance_id,
    )
