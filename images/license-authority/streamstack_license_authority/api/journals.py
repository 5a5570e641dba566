"""License proxies upload their journals' records; administrators see which journals there are."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from streamstack_common.authority import JOURNALS_PATH, MAX_UPLOAD_BYTES, Upload, UploadAnswer
from streamstack_common.license_status import Timestamp
from streamstack_license_authority.api.bodies import read_model, takes
from streamstack_license_authority.api.errors import ApiError, describe
from streamstack_license_authority.api.security import CUSTOMER, admin_only, caller
from streamstack_license_authority.api.takings import conflict, refusals, take_run
from streamstack_license_authority.chain import linked
from streamstack_license_authority.ledger.journals import JournalRow, Taken, list_journals
from streamstack_license_authority.parts import Parts, moment

MAX_JOURNALS: Final = 1000

JournalIdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


class Journal(BaseModel):
    """What the ledger has of one license proxy's journal: everything before record ``next``."""

    journal_id: str
    customer: str
    next: int
    unreadable_records: int
    """Kept, and billing nothing: they cannot be understood."""
    first_heard_at: Timestamp
    heard_at: Timestamp


class Journals(BaseModel):
    """One page; ``next`` is the ``after`` of the next page, None on the last."""

    journals: tuple[Journal, ...]
    next: str | None


def router(parts: Parts) -> APIRouter:
    """Return the routes of journals, but for the import."""
    routes = APIRouter(prefix=JOURNALS_PATH)

    @routes.post(
        "/{journal_id}/records",
        tags=["proxies"],
        openapi_extra=takes(Upload),
        responses={**describe(401, 403, 408, 413, 422, 503), **conflict()},
    )
    async def upload(
        journal_id: JournalIdPath, request: Request, _shown: Annotated[object, Depends(CUSTOMER)]
    ) -> UploadAnswer:
        """Take records, each once however often it is sent. A journal belongs to the customer who uses it first."""
        customer = await caller(request, parts)
        if customer is None:
            parts.metrics.refused.labels("wrong_key").inc()
            raise ApiError(401, "expected 'Authorization: Bearer <the API key that came with a license>'")
        try:
            body = await read_model(request, Upload, limit=MAX_UPLOAD_BYTES)
        except ApiError:
            parts.metrics.refused.labels("malformed").inc()
            raise

        def work() -> Taken:
            after, head = bytes.fromhex(body.after), bytes.fromhex(body.head)
            run = linked(first=body.first, after=after, head=head, bodies=body.records)
            return take_run(parts, journal_id=journal_id, customer=customer, run=run)

        with refusals(parts, journal_id):
            taken = await parts.database.run(work)
        return UploadAnswer(next=taken.next_number)

    @routes.get("", tags=["usage"], dependencies=[admin_only(parts)], responses=describe(401, 422, 503))
    async def show_journals(
        customer: Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00]+$")] = None,
        after: Annotated[str, Query(pattern=r"^[0-9a-f]{0,32}$", description="id to go on after")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_JOURNALS)] = 100,
    ) -> Journals:
        """List journals in the order of their ids."""

        def read() -> tuple[JournalRow, ...]:
            with parts.database.reading() as connection:
                return list_journals(connection, customer=customer, after=after, limit=limit + 1)

        found = await parts.database.run(read)
        page = found[:limit]
        return Journals(
            journals=tuple(_journal(row) for row in page), next=page[-1].journal_id if len(found) > limit else None
        )

    return routes


def _journal(row: JournalRow) -> Journal:
    return Journal(
        journal_id=row.journal_id,
        customer=row.customer,
        next=row.next_number,
        unreadable_records=row.unreadable_records,
        first_heard_at=moment(row.first_heard_ms),
        heard_at=moment(row.heard_at_ms),
    )
