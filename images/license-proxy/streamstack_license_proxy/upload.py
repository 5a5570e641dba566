"""Usage on its way to the authority: records in strict order, in batches, until each is in its ledger."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter

from streamstack_common.authority import MAX_RECORDS, Upload, UploadAnswer
from streamstack_license_proxy.authority import AuthorityError, AuthorityRefusedError
from streamstack_license_proxy.journal.errors import JournalError
from streamstack_license_proxy.journal.records import Batch
from streamstack_license_proxy.journal.usage_journal import UsageJournal

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3.0
"""Between two uploads where fewer than ``MAX_RECORDS`` records wait."""
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0
MANY_RECORDS: Final = 1_000
"""More waiting than this is worth a warning; it is given again after less than half waited."""
RESULTS: Final = ("accepted", "gap", "fork", "unreachable", "refused", "journal")


class UsageAuthority(Protocol):
    """Takes usage; ``streamstack_license_proxy.authority.Authority`` is one."""

    async def upload(self, journal_id: str, upload: Upload) -> UploadAnswer:
        """Send records; an answer with a ``problem`` is an answer. Raises AuthorityError."""


class StrangeAnswerError(AuthorityError):
    """An answer that no authority gives to what was sent."""


class Uploader:
    """Uploads what a journal holds while there is somebody who wants it.

    Args:
        journal: what to upload.
        authority: where to.
        registry: takes ``streamstack_usage_uploads_total``.
        active: whether the license of now bills usage and is not offline.
        every_seconds: see :data:`EVERY_SECONDS`.

    """

    def __init__(
        self,
        journal: UsageJournal,
        authority: UsageAuthority,
        registry: CollectorRegistry,
        *,
        active: Callable[[], bool],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._journal = journal
        self._authority = authority
        self._active = active
        self._every_seconds = every_seconds
        self._retries = 0
        self._outage: type[Exception] | None = None
        self._answered_at = time.monotonic()
        self._may_renew = True
        self._uploads = Counter(
            "streamstack_usage_uploads_total", "Uploads of usage by what came of them", ["result"], registry=registry
        )
        for result in RESULTS:
            self._uploads.labels(result)

    def away_seconds(self) -> float:
        """How long the authority has not taken what waits: 0 while the last upload was taken or nothing is to be sent.

        Otherwise the seconds since it last took something, or since the start.
        """
        return 0.0 if self._outage is None or not self._active() else time.monotonic() - self._answered_at

    async def run(self) -> None:
        """Upload until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._warn_of_many())
            tasks.create_task(self._upload())

    async def attempt(self) -> None:
        """Upload everything that waits now, if anybody wants it.

        Raises:
            AuthorityError: it was not taken; what was before it is.
            JournalError: the journal cannot be read, or not be told what was taken.

        """
        goal = self._journal.position
        while self._active() and (batch := await self._journal.next_batch()) is not None:
            await self._send(batch)
            if batch.journal_id == goal.journal_id and self._journal.position.acknowledged >= goal.head:
                return

    async def _upload(self) -> None:
        while True:
            try:
                await self.attempt()
            except (AuthorityError, JournalError) as problem:
                self._failed(problem)
                await asyncio.sleep(self._retry_seconds())
            else:
                self._worked()
                await self._pause()

    async def _pause(self) -> None:
        """Wait for the next time, or until a batch is full. Nobody who wants it has no use for full ones."""
        if not self._active():
            await asyncio.sleep(self._every_seconds)
            return
        try:
            async with asyncio.timeout(self._every_seconds):
                await self._journal.until(lambda position: position.unacknowledged >= MAX_RECORDS)
        except TimeoutError:
            return

    async def _send(self, batch: Batch) -> None:
        upload = Upload(first=batch.first, after=batch.after.hex(), head=batch.head.hex(), records=tuple(batch.bodies))
        answer = await self._authority.upload(batch.journal_id, upload)
        if answer.problem == "fork":
            await self._forked(batch, f"the authority knows another record before {answer.next}")
        elif answer.problem == "gap":
            await self._go_back(batch, answer.next)
        else:
            await self._accepted(batch, answer.next)

    async def _accepted(self, batch: Batch, following: int) -> None:
        if following <= batch.first:
            raise StrangeAnswerError(f"it took records from {batch.first} on and expects {following}")
        if following > self._journal.position.head + 1:
            await self._forked(batch, f"the authority has records up to {following - 1}")
            return
        self._uploads.labels("accepted").inc()
        self._may_renew = True
        self._answered_at = time.monotonic()
        await self._journal.acknowledge(batch.journal_id, following - 1)

    async def _go_back(self, batch: Batch, following: int) -> None:
        """The ledger lost something: send it again from there, or all that is left of it as a new journal."""
        if following >= batch.first:
            raise StrangeAnswerError(f"it misses records from {following} on and was sent those from {batch.first} on")
        self._uploads.labels("gap").inc()
        log.warning("the authority misses usage records %d to %d: they are sent again", following, batch.first - 1)
        if await self._journal.set_acknowledged(batch.journal_id, following - 1):
            return
        await self._journal.set_acknowledged(batch.journal_id, self._journal.position.pruned)
        await self._forked(batch, f"the authority misses records from {following} on, and they are not held any more")

    async def _forked(self, batch: Batch, reason: str) -> None:
        """The journal's numbers are used up: it was put back from a copy. A new one takes over what is left."""
        self._uploads.labels("fork").inc()
        if not self._may_renew:
            raise StrangeAnswerError(f"{reason}, of a journal that was just made")
        self._may_renew = False
        await self._journal.renew(batch.journal_id, reason)

    def _failed(self, problem: AuthorityError | JournalError) -> None:
        """Say so once for each outage, and again where the reason becomes another."""
        kind = "unreachable"
        if isinstance(problem, JournalError):
            kind = "journal"
        elif isinstance(problem, AuthorityRefusedError):
            kind = "refused"
        self._uploads.labels(kind).inc()
        if self._outage is not type(problem):
            self._outage = type(problem)
            log.warning("usage is not uploaded for now, nothing is lost: %s", problem)

    def _worked(self) -> None:
        self._retries = 0
        self._answered_at = time.monotonic()
        if self._outage is not None:
            self._outage = None
            log.info("usage is uploaded again")

    def _retry_seconds(self) -> float:
        """Seconds to wait: twice as long each time, and never at the same moment as other proxies."""
        ceiling = min(LAST_RETRY_SECONDS, math.ldexp(FIRST_RETRY_SECONDS, self._retries))
        self._retries = min(self._retries + 1, 10)
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    async def _warn_of_many(self) -> None:
        while True:
            await self._journal.until(lambda position: position.unacknowledged > MANY_RECORDS)
            log.warning("%d usage records wait for the authority", self._journal.position.unacknowledged)
            await self._journal.until(lambda position: position.unacknowledged < MANY_RECORDS // 2)
