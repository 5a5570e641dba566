"""Administrators see what is billed."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from streamstack_common.license_status import Timestamp
from streamstack_license_authority.api.errors import ApiError, describe
from streamstack_license_authority.api.security import admin_only
from streamstack_license_authority.ledger.usage import BilledSession, ModelTotal, billed_sessions, totals
from streamstack_license_authority.parts import Parts, moment

MAX_DAYS: Final = 366
MAX_TOTALS: Final = 20_000
"""Rows by customer, day and model of one answer."""
MAX_SESSIONS: Final = 1000

Customer = Annotated[str, Query(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]


class Total(BaseModel):
    """Sums over sessions; ``audio_ms`` is what is billed."""

    sessions: int
    open_sessions: int
    audio_ms: int
    transcript_characters: int


class DayTotal(Total):
    """Sessions of one customer that are billed on one UTC day."""

    customer: str
    day: date
    models: dict[str, Total]


class Usage(BaseModel):
    """Rows in the order of customers and days; a day without sessions has none."""

    rows: tuple[DayTotal, ...]


class Session(BaseModel):
    """One session as it is billed; ``started_at`` is the gateway's clock, the other moments are the authority's."""

    session_id: str
    day: date
    started_at: Timestamp
    audio_ms: int
    """Billed: the highest value that any report ever told."""
    transcript_characters: int
    sequence: int
    """Of the newest report."""
    model: str
    tenant: str | None
    features: tuple[str, ...]
    outcome: str | None
    closed_by: Literal["gateway", "authority"] | None
    """Who said that it is over; None while nobody did."""
    closed_at: Timestamp | None
    heard_at: Timestamp
    journals: tuple[str, ...]
    """Those that told of it."""


class Sessions(BaseModel):
    """One page; ``next`` is the ``after`` of the next page, None on the last."""

    sessions: tuple[Session, ...]
    next: str | None


def router(parts: Parts) -> APIRouter:
    """Return the routes under ``/v1/usage``."""
    routes = APIRouter(prefix="/v1/usage", tags=["usage"], dependencies=[admin_only(parts)])

    @routes.get("", responses=describe(401, 422, 503))
    async def show_usage(
        first: Annotated[date, Query(alias="from", description="first UTC day")],
        last: Annotated[date, Query(alias="to", description="last UTC day, included")],
        customer: Customer | None = None,
    ) -> Usage:
        """Sum what is billed by customer and UTC day: of the start, if not long before it was heard of."""
        if not 0 <= (last - first).days < MAX_DAYS:
            raise ApiError(422, f"to: expected a day from {first} on, and at most {MAX_DAYS} days in all")

        def read() -> tuple[ModelTotal, ...]:
            with parts.database.reading() as connection:
                return totals(connection, first=first, last=last, customer=customer, limit=MAX_TOTALS + 1)

        found = await parts.database.run(read)
        if len(found) > MAX_TOTALS:
            raise ApiError(422, f"more than {MAX_TOTALS} sums: expected fewer days, or one customer")
        return Usage(rows=by_day(found))

    @routes.get("/sessions", responses=describe(401, 422, 503))
    async def show_sessions(
        customer: Customer,
        day: Annotated[date | None, Query(description="UTC day on which they are billed; all days without it")] = None,
        after: Annotated[str, Query(max_length=64, pattern=r"^[^\x00]*$", description="id to go on after")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_SESSIONS)] = 100,
    ) -> Sessions:
        """List a customer's sessions in the order of their ids."""

        def read() -> tuple[BilledSession, ...]:
            with parts.database.reading() as connection:
                return billed_sessions(connection, customer=customer, day=day, after=after, limit=limit + 1)

        found = await parts.database.run(read)
        page = found[:limit]
        return Sessions(
            sessions=tuple(_session(one) for one in page), next=page[-1].session_id if len(found) > limit else None
        )

    return routes


def by_day(found: Iterable[ModelTotal]) -> tuple[DayTotal, ...]:
    """Sum up models."""
    days: dict[tuple[str, str], dict[str, Total]] = {}
    for one in found:
        days.setdefault((one.customer, one.day), {})[one.model] = Total(
            sessions=one.sessions,
            open_sessions=one.open_sessions,
            audio_ms=one.audio_ms,
            transcript_characters=one.transcript_characters,
        )
    return tuple(
        DayTotal(
            customer=customer,
            day=date.fromisoformat(day),
            models=models,
            sessions=sum(model.sessions for model in models.values()),
            open_sessions=sum(model.open_sessions for model in models.values()),
            audio_ms=sum(model.audio_ms for model in models.values()),
            transcript_characters=sum(model.transcript_characters for model in models.values()),
        )
        for (customer, day), models in days.items()
    )


def _session(one: BilledSession) -> Session:
    return Session(
        session_id=one.session_id,
        day=date.fromisoformat(one.day),
        started_at=moment(one.started_at_ms),
        audio_ms=one.audio_ms,
        transcript_characters=one.transcript_characters,
        sequence=one.sequence,
        model=one.model,
        tenant=one.tenant,
        features=one.features,
        outcome=one.outcome,
        closed_by=one.closed_by,
        closed_at=None if one.closed_at_ms is None else moment(one.closed_at_ms),
        heard_at=moment(one.heard_at_ms),
        journals=one.journals,
    )
