"""Keeps on the disk what no proxy has taken yet: the tally's side of the spool, which works in a thread."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from streamstack_common.license_status import Billing
from streamstack_gateway.usage.spool import Spool, SpoolError, SpoolLostError
from streamstack_gateway.usage.tally import Tally

log = logging.getLogger(__name__)

ROWS_AT_ONCE: Final = 500

Result = TypeVar("Result")


class Keeper:
    """Writes and deletes; a disk that is full or away only warns. Nothing is written before billing is known.

    Args:
        billing: what the license says now.
        patience_seconds: how long a report may be unacknowledged before it is written.
        look_seconds: how often that is looked at.

    """

    def __init__(
        self,
        spool: Spool,
        tally: Tally,
        *,
        billing: Callable[[], Billing | None],
        patience_seconds: float,
        look_seconds: float,
    ) -> None:
        self._spool = spool
        self._tally = tally
        self._billing = billing
        self._patience_seconds = patience_seconds
        self._look_seconds = look_seconds
        self._problem: str | None = None
        # One thread, so that calls come one after the other, also one that outlives its cancelled task.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="usage-spool")

    async def recall(self) -> None:
        """Take up what an earlier process left."""
        if not self._spool.path.exists():
            return
        await self._careful(self._open)
        if self._tally.unsent:
            log.warning("%d usage reports of an earlier process wait to be delivered", self._tally.unsent)

    async def run(self) -> None:
        """Write what waits too long and delete what waits no more, until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._careful(partial(self._keep, unsent_before=time.monotonic() - self._patience_seconds))

    async def finish(self) -> None:
        """Write everything and let go of the file."""
        await self._careful(partial(self._keep, unsent_before=time.monotonic()))
        await self._in_thread(self._spool.close)
        self._thread.shutdown()

    async def _careful(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except SpoolError as error:
            if str(error) != self._problem:
                log.warning("usage spool %s; what cannot be delivered is in memory only", error)
            self._problem = str(error)
        except SpoolLostError:
            self._tally.spool_lost()
        else:
            self._problem = None

    async def _keep(self, *, unsent_before: float) -> None:
        spool, tally = self._spool, self._tally
        while self._billing() is not None:
            reports = tally.to_write(ROWS_AT_ONCE, unsent_before=unsent_before)
            if not reports:
                break
            await self._open()
            await self._in_thread(partial(spool.write, reports))
            tally.written(reports)
        obsolete = tally.to_delete()
        if obsolete:
            await self._open()
            await self._in_thread(partial(spool.delete, obsolete))
            tally.deleted(obsolete)

    async def _open(self) -> None:
        if not self._spool.is_open:
            self._tally.restore(await self._in_thread(self._spool.open), now=time.monotonic())

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
