"""Sessions as they are billed: what was heard of each, from whichever journal, and which ones nobody ends."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Case, ColumnElement, Connection, and_, case, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from streamstack_license_authority.folding import Heard, billed_day
from streamstack_license_authority.ledger.tables import sessions

ORPHANS_AT_ONCE: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def hear(connection: Connection, *, customer: str, sessions: Sequence[Heard], now_ms: int) -> None:
    """Add what was heard: the highest counts hold, and of everything else what the highest sequence says.

    A higher sequence supersedes a close; one that is not higher leaves it.
    """
    if sessions:
        rows = [_row(heard, customer=customer, now_ms=now_ms) for heard in sessions]
        connection.execute(_upsert(connection.dialect.name), rows)


def close_orphans(connection: Connection, *, heard_before_ms: int, now_ms: int) -> int:
    """Close open sessions of which nothing was heard since; their number, at most ``ORPHANS_AT_ONCE``.

    What an upload is changing at this moment is passed over: it is being heard.
    """
    keys = (sessions.c.customer, sessions.c.session_id)
    abandoned = and_(sessions.c.closed_by.is_(None), sessions.c.heard_at_ms < heard_before_ms)
    # Chosen and locked by a statement of its own: PostgreSQL may run a locking subquery more than once.
    choice = select(*keys).where(abandoned).order_by(*keys).limit(ORPHANS_AT_ONCE).with_for_update(skip_locked=True)
    chosen = [(row.customer, row.session_id) for row in connection.execute(choice)]
    if chosen:
        closed = update(sessions).where(tuple_(*keys).in_(chosen))
        connection.execute(closed.values(closed_by="authority", closed_at_ms=now_ms))
    return len(chosen)


def count_open(connection: Connection) -> int:
    """Return how many sessions have no end yet."""
    return connection.execute(select(func.count()).where(sessions.c.closed_by.is_(None))).scalar_one()


def _row(heard: Heard, *, customer: str, now_ms: int) -> dict[str, Any]:
    ended = heard.outcome is not None
    return {
        "customer": customer,
        "session_id": heard.session_id,
        "day": billed_day(heard.started_at, received_ms=now_ms).isoformat(),
        "started_at_ms": (heard.started_at - _EPOCH) // timedelta(milliseconds=1),
        "audio_ms": heard.audio_ms,
        "transcript_characters": heard.transcript_characters,
        "sequence": heard.sequence,
        "model": heard.model,
        "tenant": heard.tenant,
        "features": ",".join(heard.features),
        "outcome": heard.outcome,
        "closed_by": "gateway" if ended else None,
        "closed_at_ms": now_ms if ended else None,
        "heard_at_ms": now_ms,
    }


def _upsert(dialect: str) -> Any:
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(sessions)
    old, new = sessions.c, statement.excluded
    newest = ("model", "tenant", "features", "outcome", "closed_by", "closed_at_ms")
    changes = {name: case((new.sequence > old.sequence, new[name]), else_=old[name]) for name in newest}
    highest = ("audio_ms", "transcript_characters", "sequence", "heard_at_ms")
    changes |= {name: _higher(old[name], new[name]) for name in highest}
    earlier = new.started_at_ms < old.started_at_ms
    changes |= {name: case((earlier, new[name]), else_=old[name]) for name in ("started_at_ms", "day")}
    return statement.on_conflict_do_update(index_elements=[old.customer, old.session_id], set_=changes)


def _higher(one: ColumnElement[int], other: ColumnElement[int]) -> Case[int]:
    return case((one > other, one), else_=other)
