"""What is billed: sums by customer and day, and each session by itself."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, Row, and_, case, func, select

from streamstack_license_authority.ledger.tables import journals, records, sessions


@dataclass(frozen=True, slots=True)
class ModelTotal:
    """Sessions of one customer, UTC day of their start and model."""

    customer: str
    day: str
    model: str
    sessions: int
    open_sessions: int
    audio_ms: int
    transcript_characters: int


@dataclass(frozen=True, slots=True)
class BilledSession:
    """One session; moments are milliseconds since 1970."""

    session_id: str
    day: str
    started_at_ms: int
    audio_ms: int
    transcript_characters: int
    sequence: int
    model: str
    tenant: str | None
    features: tuple[str, ...]
    outcome: str | None
    closed_by: str | None
    closed_at_ms: int | None
    heard_at_ms: int
    journals: tuple[str, ...]


def totals(
    connection: Connection, *, first: date, last: date, customer: str | None, limit: int
) -> tuple[ModelTotal, ...]:
    """Return sums for days ``first`` to ``last``, both included, by customer, day and model in this order."""
    columns = sessions.c
    key = (columns.customer, columns.day, columns.model)
    period = columns.day.between(first.isoformat(), last.isoformat())
    query = (
        select(
            *key,
            func.count().label("sessions"),
            func.sum(case((columns.closed_by.is_(None), 1), else_=0)).label("open_sessions"),
            func.sum(columns.audio_ms).label("audio_ms"),
            func.sum(columns.transcript_characters).label("transcript_characters"),
        )
        .where(period if customer is None else and_(period, columns.customer == customer))
        .group_by(*key)
        .order_by(*key)
        .limit(limit)
    )
    return tuple(
        ModelTotal(
            customer=row.customer,
            day=row.day,
            model=row.model,
            sessions=row.sessions,
            # PostgreSQL sums big integers to a decimal number.
            open_sessions=int(row.open_sessions),
            audio_ms=int(row.audio_ms),
            transcript_characters=int(row.transcript_characters),
        )
        for row in connection.execute(query)
    )


def billed_sessions(
    connection: Connection, *, customer: str, day: date | None, after: str, limit: int
) -> tuple[BilledSession, ...]:
    """Return a customer's sessions whose ids are greater than ``after``, in the order of their ids."""
    columns = sessions.c
    query = select(sessions).where(columns.customer == customer, columns.session_id > after)
    if day is not None:
        query = query.where(columns.day == day.isoformat())
    rows = connection.execute(query.order_by(columns.session_id).limit(limit)).all()
    heard_in = _journals_of(connection, customer=customer, session_ids=[row.session_id for row in rows])
    return tuple(_session(row, heard_in[row.session_id]) for row in rows)


def _journals_of(connection: Connection, *, customer: str, session_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Journals with records of each session, in the order of their ids."""
    query = (
        select(records.c.session_id, records.c.journal_id)
        .distinct()
        .join(journals, journals.c.journal_id == records.c.journal_id)
        .where(records.c.session_id.in_(session_ids), journals.c.customer == customer)
        .order_by(records.c.journal_id)
    )
    found: dict[str, tuple[str, ...]] = dict.fromkeys(session_ids, ())
    for row in connection.execute(query):
        found[row.session_id] = (*found[row.session_id], row.journal_id)
    return found


def _session(row: Row[tuple[object, ...]], heard_in: tuple[str, ...]) -> BilledSession:
    return BilledSession(
        session_id=row.session_id,
        day=row.day,
        started_at_ms=row.started_at_ms,
        audio_ms=row.audio_ms,
        transcript_characters=row.transcript_characters,
        sequence=row.sequence,
        model=row.model,
        tenant=row.tenant,
        features=tuple(row.features.split(",")) if row.features else (),
        outcome=row.outcome,
        closed_by=row.closed_by,
        closed_at_ms=row.closed_at_ms,
        heard_at_ms=row.heard_at_ms,
        journals=heard_in,
    )
