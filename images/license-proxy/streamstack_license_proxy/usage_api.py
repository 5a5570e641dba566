"""What the proxy answers about usage: it takes reports, tells what waits, gives it as a file and takes receipts."""

import json
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamstack_common.internal_http import InternalHttp
from streamstack_common.keyring import Keyring
from streamstack_common.license_status import Billing
from streamstack_common.usage import (
    BACKLOG_PATH,
    MAX_REPORTS,
    MAX_USAGE_BYTES,
    USAGE_PATH,
    RejectedReport,
    UsageBacklog,
    UsageBatch,
    UsageReceipt,
    UsageReport,
)
from streamstack_common.usage_export import EXPORT_PATH, MAX_EXPORT_RECORDS, RECEIPTS_PATH
from streamstack_license_proxy.journal.errors import (
    JournalError,
    JournalFullError,
    JournalMovedOnError,
    JournalOverloadedError,
)
from streamstack_license_proxy.journal.receipts import ReceiptError, verify_receipt
from streamstack_license_proxy.journal.records import Entry
from streamstack_license_proxy.journal.usage_journal import UsageJournal

log = logging.getLogger(__name__)

EXPORT_RECORDS: Final = 50_000
"""Records of one export where the caller does not say."""
MAX_RECEIPT_BYTES: Final = 64 * 1024
RESULTS: Final = ("recorded", "duplicate", "rejected", "not_billed", "full", "overloaded", "failed")


class _GoodBatch(BaseModel):
    """A batch in which every report is one: nearly every one is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reports: tuple[UsageReport, ...] = Field(min_length=1, max_length=MAX_REPORTS)


class UsageApi:
    """Handlers over a journal.

    Args:
        journal: takes what is reported.
        registry: takes ``streamstack_usage_reports_total``.
        billing: of the license now; None where there is no authentic one. Only ``flat`` keeps nothing.
        license_token: the license as it is now, which an export carries; None where there is none.
        keyring: keys that may sign receipts.
        foreign: says why the journal is not that of the license now, or None: then nothing is taken or exported.

    """

    def __init__(
        self,
        journal: UsageJournal,
        registry: CollectorRegistry,
        *,
        billing: Callable[[], Billing | None],
        license_token: Callable[[], str | None],
        keyring: Keyring,
        foreign: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._foreign = foreign
        self._billing = billing
        self._license_token = license_token
        self._keyring = keyring
        self._reports = Counter(
            "streamstack_usage_reports_total",
            "Reports of sessions by what became of them",
            ["result"],
            registry=registry,
        )
        for result in RESULTS:
            self._reports.labels(result)

    def attach(self, http: InternalHttp) -> None:
        """Serve on a port, which has to take bodies of :data:`MAX_USAGE_BYTES`."""
        http.post(USAGE_PATH, self._take)
        http.get(BACKLOG_PATH, self._backlog)
        http.get(EXPORT_PATH, self._export)
        http.post(RECEIPTS_PATH, self._receipt)

    async def _take(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"expected at most {MAX_USAGE_BYTES} bytes")
        try:
            good, rejected = parse_batch(body)
        except ValueError as error:
            return _error(422, str(error))
        if self._billing() == "flat":
            self._count("not_billed", len(good) + len(rejected))
            return _json(UsageReceipt())
        if (foreign := self._foreign()) is not None:
            self._count("failed", len(good) + len(rejected))
            return _error(503, foreign)
        entries = [(index, Entry.of(report)) for index, report in good]
        try:
            taken = await self._journal.take([entry for _, entry in entries])
        except JournalError as problem:
            self._count(_result(problem), len(entries))
            return _refused(problem)
        refused = [
            RejectedReport(index=index, reason=reason)
            for (index, _), reason in zip(entries, taken.reasons, strict=True)
            if reason is not None
        ]
        rejected += refused
        self._count("recorded", taken.new)
        self._count("rejected", len(rejected))
        self._count("duplicate", len(entries) - taken.new - len(refused))
        return _json(UsageReceipt(rejected=tuple(sorted(rejected, key=lambda each: each.index))))

    async def _backlog(self, _request: web.Request) -> web.Response:
        try:
            backlog = self._journal.backlog()
        except JournalError as problem:
            return _refused(problem)
        # What an earlier license left is still owed to its authority.
        return _json(UsageBacklog() if self._billing() == "flat" and not backlog.records else backlog)

    async def _export(self, request: web.Request) -> web.Response:
        try:
            after = _whole(request, "after", None, low=0, high=2**62)
            limit = _whole(request, "limit", EXPORT_RECORDS, low=1, high=MAX_EXPORT_RECORDS)
        except ValueError as error:
            return _error(422, str(error))
        license_ = self._license_token()
        if license_ is None:
            return _error(409, "there is no authentic license: an export carries one")
        if (foreign := self._foreign()) is not None:
            return _error(409, foreign)
        try:
            packed = await self._journal.export(
                license=license_, first=None if after is None else after + 1, limit=limit or EXPORT_RECORDS
            )
        except JournalError as problem:
            return _refused(problem)
        return web.Response(body=packed, content_type="application/gzip")

    async def _receipt(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            body = bytes(MAX_RECEIPT_BYTES + 1)
        if len(body) > MAX_RECEIPT_BYTES:
            return _error(413, f"expected at most {MAX_RECEIPT_BYTES} bytes")
        try:
            receipt = verify_receipt(body, self._keyring)
        except ReceiptError as error:
            return _error(422, f"receipt: {error}")
        try:
            position = self._journal.position
            if receipt.journal_id != position.journal_id:
                return _error(
                    409, f"receipt: it is for journal {receipt.journal_id}; this one is {position.journal_id}"
                )
            if not await self._journal.acknowledge(receipt.journal_id, receipt.through):
                # Numbers that were given out are unknown here: the folder is that of an earlier day.
                await self._journal.renew(receipt.journal_id, f"a receipt knows {receipt.through} records")
                return _error(
                    409,
                    f"receipt: it is for {receipt.through} records, this journal has {position.head}: it was put back "
                    "from a copy; a new one was started with what it has: export again",
                )
            log.info("usage journal: a receipt says that records up to %d are in the ledger", receipt.through)
            return _json(self._journal.backlog())
        except JournalError as problem:
            return _refused(problem)

    def _count(self, result: str, number: int) -> None:
        self._reports.labels(result).inc(number)


def parse_batch(body: bytes) -> tuple[list[tuple[int, UsageReport]], list[RejectedReport]]:
    """Return the reports of a batch with their index, and what is none with the reason; each is judged for itself.

    Raises:
        ValueError: it is no batch.

    """
    try:
        return list(enumerate(_GoodBatch.model_validate_json(body).reports)), []
    except ValidationError:
        pass
    try:
        batch = UsageBatch.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(f"expected a batch of reports: {_first_problem(error)}") from None
    good: list[tuple[int, UsageReport]] = []
    rejected: list[RejectedReport] = []
    for index, report in enumerate(batch.reports):
        try:
            # As JSON again: in Python's types a list is no tuple.
            good.append((index, UsageReport.model_validate_json(json.dumps(report))))
        except ValidationError as error:
            rejected.append(RejectedReport(index=index, reason=_first_problem(error)))
    return good, rejected


def _first_problem(error: ValidationError) -> str:
    """Say what is wrong first, without repeating what was sent."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg']}"[:300]


def _whole(request: web.Request, name: str, default: int | None, *, low: int, high: int) -> int | None:
    """Return a whole number of the query. Raises ValueError with what was expected."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not low <= int(text) <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}")
    return int(text)


def _result(problem: JournalError) -> str:
    if isinstance(problem, JournalFullError):
        return "full"
    return "overloaded" if isinstance(problem, JournalOverloadedError) else "failed"


def _refused(problem: JournalError) -> web.Response:
    if isinstance(problem, JournalMovedOnError):
        return _error(409, str(problem))
    return _error(507 if isinstance(problem, JournalFullError) else 503, str(problem))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _json(body: BaseModel) -> web.Response:
    return web.Response(text=body.model_dump_json(), content_type="application/json")
