"""Everything about usage: nothing at all while the license is flat, a journal from the moment it is not.

A journal that is there already is opened under a flat license, too: what is in it is still uploaded or exported.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from streamstack_common.internal_http import InternalHttp
from streamstack_common.keyring import Keyring
from streamstack_common.license_status import Billing
from streamstack_common.usage import BACKLOG_PATH, USAGE_PATH, UsageBacklog, UsageReceipt
from streamstack_license_proxy.authority import Authority, AuthorityError
from streamstack_license_proxy.journal import files
from streamstack_license_proxy.journal.errors import JournalError, JournalFullError
from streamstack_license_proxy.journal.metrics import register_metrics
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.owner import Owner, OwnerFile
from streamstack_license_proxy.together import together
from streamstack_license_proxy.upload import Uploader
from streamstack_license_proxy.usage_api import UsageApi

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 60.0
"""Between two attempts to open a journal that cannot be opened."""
LAST_UPLOAD_SECONDS: Final = 5.0
"""For what still waits when the process is to end; what is left is uploaded by the next one."""


class UsageSide:
    """The journal and who serves it, from when they are needed.

    Args:
        state_dir: where the journal is or will be; None where nothing can be kept.
        retention_days: how long the journal keeps what the authority has.
        keeper: has the license.
        authority: takes usage.
        keyring: keys that may sign receipts.
        registry: where the metrics go.
        http: where reports come in, from :meth:`attach` on.

    """

    def __init__(
        self,
        *,
        state_dir: Path | None,
        retention_days: int,
        keeper: LicenseKeeper,
        authority: Authority,
        keyring: Keyring,
        registry: CollectorRegistry,
        http: InternalHttp,
    ) -> None:
        self._state_dir = state_dir
        self._retention_days = retention_days
        self._keeper = keeper
        self._authority = authority
        self._keyring = keyring
        self._registry = registry
        self._http = http
        self._license_changed = keeper.changes()
        self._journal: UsageJournal | None = None
        self._uploader: Uploader | None = None
        self._owner: Owner | None = None
        self._problem: str | None = None

    def attach(self) -> None:
        """Answer for usage while there is no journal."""
        self._http.post(USAGE_PATH, self._take_without)
        self._http.get(BACKLOG_PATH, self._backlog_without)

    def unready(self) -> str | None:
        """Say why reports had better go to another proxy, or None."""
        return self._problem or self._foreign() if self._keeper.bills_usage else None

    async def open_where_needed(self) -> None:
        """Open the journal if the license bills usage, or one is there.

        Raises:
            JournalError: it is needed and cannot be opened.

        """
        if self._journal is not None or not self._wanted():
            return
        if self._state_dir is None:
            raise JournalError("billing by usage keeps a journal: expected STATE_DIR, a folder that can be written")
        journal = await self._opened(self._state_dir)
        try:
            # On a full disk the journal waits for space, and so does this: it is tried again.
            with contextlib.suppress(JournalFullError):
                await self._settle_owner(journal, OwnerFile(self._state_dir))
        except BaseException:
            with contextlib.suppress(JournalError):
                await journal.close()
            raise
        self._serve(journal)

    async def run(self) -> None:
        """Open the journal when the license asks for one, and upload from it; until cancelled."""
        while self._journal is None or self._uploader is None or self._state_dir is None:
            await self._wait()
            await self._careful(self.open_where_needed())
        watching = self._watch_owner(self._journal, OwnerFile(self._state_dir))
        await together(self._uploader.run(), self._journal.run(), watching)

    async def _watch_owner(self, journal: UsageJournal, file: OwnerFile) -> None:
        """See to whose journal this is, with every license and, while that is open, again and again."""
        while True:
            await self._careful(self._settle_owner(journal, file))
            await self._wait()

    async def _settle_owner(self, journal: UsageJournal, file: OwnerFile) -> None:
        """Give the journal to the license of now, a new one where it was somebody else's and nothing of it is owed.

        Raises:
            JournalError: it cannot be read or written.

        """
        if self._owner is None:
            self._owner = await asyncio.to_thread(file.read)
        license_ = self._keeper.license
        if license_ is None or not self._keeper.bills_usage or self._owner == (wanted := Owner.of(license_)):
            return
        if self._owner is not None:
            position = journal.position
            if position.unacknowledged:
                log.error("%s", self._foreign())
                return
            await journal.renew(position.journal_id, f"it is that of {self._owner}, and the license is {wanted}'s")
        await asyncio.to_thread(file.write, wanted)
        self._owner = wanted

    def _foreign(self) -> str | None:
        """Say that the journal is not that of the license's customer, or None."""
        license_ = self._keeper.license
        if license_ is None or self._owner is None or self._owner == Owner.of(license_):
            return None
        return (
            f"the usage journal is that of {self._owner}, and the license is that of {Owner.of(license_)}: "
            "expected the license before it until the authority has what is in the journal"
        )

    async def _careful(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``; where that fails live sessions go on and gateways keep their reports."""
        try:
            await work
            self._problem = None
        except JournalError as error:
            if str(error) != self._problem:
                log.error("%s", error)  # noqa: TRY400 - the message says it all
            self._problem = str(error)

    async def close(self) -> None:
        """Try to upload what waits, for a moment, and close the journal."""
        if self._journal is None or self._uploader is None:
            return
        with contextlib.suppress(AuthorityError, JournalError, TimeoutError):
            async with asyncio.timeout(LAST_UPLOAD_SECONDS):
                await self._uploader.attempt()
        await self._journal.close()

    def _wanted(self) -> bool:
        if self._keeper.bills_usage:
            return True
        return self._state_dir is not None and (self._state_dir / files.NAME).exists()

    async def _opened(self, folder: Path) -> UsageJournal:
        opening = asyncio.ensure_future(
            asyncio.to_thread(UsageJournal.open, folder, retention_days=self._retention_days)
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: what it opens is closed, or the process would wait for its writer for ever.
            with contextlib.suppress(JournalError):
                await (await opening).close()
            raise

    def _serve(self, journal: UsageJournal) -> None:
        self._journal = journal
        register_metrics(self._registry, journal)
        self._uploader = Uploader(journal, self._authority, self._registry, active=self._uploads)
        api = UsageApi(
            journal,
            self._registry,
            billing=self._billing,
            license_token=lambda: self._keeper.token,
            keyring=self._keyring,
            foreign=self._foreign,
        )
        api.attach(self._http)

    async def _wait(self) -> None:
        """Wait for another license; where a journal could not be opened, not for ever."""
        with contextlib.suppress(TimeoutError):
            settled = self._problem is None and self._foreign() is None
            async with asyncio.timeout(None if settled else RETRY_SECONDS):
                await self._license_changed.wait()
        self._license_changed.clear()

    def _uploads(self) -> bool:
        """Under a flat license nothing new comes; what was used under the one before is owed all the same."""
        if self._keeper.online() is None or self._foreign() is not None:
            return False
        return self._keeper.bills_usage or self._owes()

    def _owes(self) -> bool:
        try:
            return self._journal is not None and self._journal.position.unacknowledged > 0
        except JournalFullError:
            return False  # nobody knows before there is space to open it

    def _billing(self) -> Billing | None:
        license_ = self._keeper.license
        return None if license_ is None else license_.billing

    async def _take_without(self, _request: web.Request) -> web.Response:
        if self._billing() == "flat":
            return web.Response(text=UsageReceipt().model_dump_json(), content_type="application/json")
        return web.json_response({"error": self._problem or "there is no usage journal yet"}, status=503)

    async def _backlog_without(self, _request: web.Request) -> web.Response:
        return web.Response(text=UsageBacklog().model_dump_json(), content_type="application/json")
