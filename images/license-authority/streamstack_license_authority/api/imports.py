"""Administrators import what stacks without a network have exported."""

import asyncio
import logging
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel

from streamstack_common.authority import JOURNALS_PATH
from streamstack_common.usage_export import RECEIPT_AUDIENCE, Export, ExportError
from streamstack_license_authority.api.bodies import read_body
from streamstack_license_authority.api.errors import ApiError, describe
from streamstack_license_authority.api.journals import JournalIdPath
from streamstack_license_authority.api.security import admin_only
from streamstack_license_authority.api.takings import conflict, refusals, take_run
from streamstack_license_authority.checkins import ForeignLicenseError, OwnLicense, known_license, own_license
from streamstack_license_authority.imports import MAX_IMPORT_BYTES, runs, unpacked
from streamstack_license_authority.ledger.journals import Taken, taken_before
from streamstack_license_authority.ledger.licenses import find_license
from streamstack_license_authority.parts import Parts, now_ms

log = logging.getLogger(__name__)

BODY_SECONDS: Final = 600
"""For all of a file."""
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A file of `streamstack usage export`, packed with gzip.",
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Imported(BaseModel):
    """What became of a file: everything before record ``next`` is in the ledger."""

    journal_id: str
    customer: str
    accepted: int
    duplicates: int
    unreadable: int
    """Of the accepted ones, those that cannot be understood: kept, and billing nothing."""
    next: int
    receipt: str
    """A JWT for the proxy: it may forget records up to ``through``."""


def router(parts: Parts) -> APIRouter:
    """Return the route of imports."""
    routes = APIRouter(prefix=JOURNALS_PATH, tags=["usage"], dependencies=[admin_only(parts)])
    # One file at a time: unpacked it may be hundreds of megabytes.
    turn = asyncio.Lock()

    @routes.post(
        "/{journal_id}/import",
        openapi_extra=_BODY,
        responses={**describe(401, 403, 408, 413, 422, 503), **conflict()},
    )
    async def import_file(journal_id: JournalIdPath, request: Request) -> Imported:
        """Take an export's records, each once however often it is imported. 409 names what is missing before them."""
        body = await read_body(request, limit=MAX_IMPORT_BYTES, seconds=BODY_SECONDS)
        try:
            async with turn:
                with refusals(parts, journal_id):
                    return await parts.database.run(lambda: _import(parts, journal_id, body))
        except ExportError as error:
            parts.metrics.refused.labels("malformed").inc()
            raise ApiError(422, f"export: {error}") from error
        except ForeignLicenseError as error:
            parts.metrics.refused.labels("foreign").inc()
            raise ApiError(422, f"export: {error}") from error

    return routes


def _import(parts: Parts, journal_id: str, body: bytes) -> Imported:
    export = unpacked(body)
    if export.journal_id != journal_id:
        raise ExportError(f"of journal {export.journal_id}; expected journal {journal_id}, as in the path")
    license_ = own_license(export.license, parts.keys)
    with parts.database.reading() as connection:
        known_license(license_, find_license(connection, license_.claims.license_id))
    taken = _take_all(parts, export, customer=license_.claims.customer)
    log.info("journal %s: import of %d records, %d new", journal_id, len(export.bodies), taken.accepted)
    return Imported(
        journal_id=journal_id,
        customer=license_.claims.customer,
        accepted=taken.accepted,
        duplicates=taken.duplicates,
        unreadable=taken.unreadable,
        next=taken.next_number,
        receipt=_receipt(license_, journal_id=journal_id, through=taken.next_number - 1),
    )


def _take_all(parts: Parts, export: Export, *, customer: str) -> Taken:
    """Take runs one after another; where this ends early, importing the file again goes on there."""
    with parts.database.reading() as connection:
        total = taken_before(connection, journal_id=export.journal_id, customer=customer, first=export.first)
    for run in runs(export):
        taken = take_run(parts, journal_id=export.journal_id, customer=customer, run=run)
        total = total.plus(taken)
    return total


def _receipt(license_: OwnLicense, *, journal_id: str, through: int) -> str:
    """Say what is in the ledger, signed with a key that whoever has the license has, too."""
    claims = {"aud": RECEIPT_AUDIENCE, "sub": journal_id, "through": through, "iat": now_ms() // 1000}
    return license_.signer.sign(claims)
