"""License proxies ask whether their license still holds."""

import logging
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request

from streamstack_common.authority import CHECKINS_PATH, CheckIn, CheckInAnswer
from streamstack_license_authority.api.bodies import read_model, takes
from streamstack_license_authority.api.errors import ApiError, describe
from streamstack_license_authority.api.security import CUSTOMER, caller
from streamstack_license_authority.checkins import ForeignLicenseError, WrongApiKeyError, judge, own_license
from streamstack_license_authority.ledger.database import UNREACHABLE, reason_of
from streamstack_license_authority.ledger.licenses import LicenseRow, find_license, note_checkin
from streamstack_license_authority.parts import Parts, now_ms

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 80 * 1024
"""The longest license and what stands around it."""
NOTE_MS: Final = 60_000
"""How often the ledger notes that a license was heard of."""


def router(parts: Parts) -> APIRouter:
    """Return the route of check-ins."""
    routes = APIRouter(tags=["proxies"])

    @routes.post(CHECKINS_PATH, openapi_extra=takes(CheckIn), responses=describe(401, 408, 413, 422, 503))
    async def check_in(request: Request, _shown: Annotated[object, Depends(CUSTOMER)]) -> CheckInAnswer:
        """Say whether a license holds. With usage billing the API key has to be its customer's."""
        checkin = await read_model(request, CheckIn, limit=MAX_BODY_BYTES)
        try:
            return await _answer(parts, checkin, key_owner=await caller(request, parts))
        except ForeignLicenseError as error:
            parts.metrics.checkins.labels("foreign").inc()
            raise ApiError(422, str(error)) from error
        except WrongApiKeyError as error:
            parts.metrics.checkins.labels("wrong_key").inc()
            raise ApiError(401, "expected 'Authorization: Bearer <the API key that came with the license>'") from error

    return routes


async def _answer(parts: Parts, checkin: CheckIn, *, key_owner: str | None) -> CheckInAnswer:
    license_ = own_license(checkin.license, parts.keys)

    def find() -> LicenseRow | None:
        with parts.database.reading() as connection:
            return find_license(connection, license_.claims.license_id)

    row, now = await parts.database.run(find), now_ms()
    verdict = judge(checkin, license_=license_, row=row, key_owner=key_owner, now_seconds=now // 1000)
    parts.metrics.checkins.labels(verdict.verdict).inc()
    if row is None or row.last_checkin_ms is None or abs(now - row.last_checkin_ms) >= NOTE_MS:
        await _note(parts, verdict.license_id, instance_id=checkin.instance_id, now=now)
    # The proxy has the key that signed its license; it may not have this authority's newest one yet.
    return CheckInAnswer(answer=license_.signer.sign(verdict.model_dump(by_alias=True)))


async def _note(parts: Parts, license_id: str, *, instance_id: str, now: int) -> None:
    def write() -> None:
        with parts.database.writing() as connection:
            note_checkin(connection, license_id, instance_id=instance_id.replace("\x00", ""), now_ms=now)

    try:
        await parts.database.run(write)
    except UNREACHABLE as error:
        # A full disk must not look like a lost authority: the note is for people, the answer is for calls.
        log.warning("check-in of license %s is not noted: %s", license_id, reason_of(error))
