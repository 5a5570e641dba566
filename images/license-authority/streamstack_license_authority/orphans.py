"""Closing sessions whose gateway never said that they ended: only the authority can know that nobody will."""

import asyncio
import logging
from typing import Final

from streamstack_license_authority.ledger.database import UNREACHABLE, Database, reason_of
from streamstack_license_authority.ledger.sessions import ORPHANS_AT_ONCE, close_orphans
from streamstack_license_authority.metrics import Metrics
from streamstack_license_authority.parts import now_ms

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 60.0


async def watch_orphans(database: Database, metrics: Metrics, *, after_seconds: int) -> None:
    """Look for orphans for ever; several authorities may do so over one ledger."""
    while True:
        await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, after_seconds / 4))
        try:
            await database.run(lambda: _close(database, metrics, after_seconds=after_seconds))
        except UNREACHABLE as error:
            log.warning("orphans are looked for later: %s", reason_of(error))


def _close(database: Database, metrics: Metrics, *, after_seconds: int) -> None:
    closed = ORPHANS_AT_ONCE
    while closed == ORPHANS_AT_ONCE:
        now = now_ms()
        with database.writing() as connection:
            closed = close_orphans(connection, heard_before_ms=now - after_seconds * 1000, now_ms=now)
        metrics.orphans.inc(closed)
        if closed:
            log.info("%d sessions were closed: nothing was heard of them for %d seconds", closed, after_seconds)
