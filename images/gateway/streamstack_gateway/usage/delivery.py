"""Sends what the tally owes: batches to any license proxy, one request at a time, until nothing is left."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from pydantic import ValidationError

from streamstack_common.license_status import Billing
from streamstack_common.usage import MAX_REPORTS, USAGE_PATH, UsageReceipt, UsageReport
from streamstack_gateway.license.proxies import (
    Proxies,
    ProxiesAwayError,
    ProxyClient,
    UnusableAnswerError,
    proxy_client,
)
from streamstack_gateway.placement.backoff import Backoff
from streamstack_gateway.usage.metrics import UsageMetrics
from streamstack_gateway.usage.tally import Tally

log = logging.getLogger(__name__)

MAX_REASON: Final = 200
"""Characters of a proxy's reason in the log."""


class Delivery:
    """The way to the proxies. Nothing is sent unless billing is by usage.

    Args:
        proxies: any of them takes any report.
        billing: what the license says now.
        timeout_seconds: how long a proxy may take to have a batch on its disk.

    """

    def __init__(
        self,
        proxies: Proxies,
        tally: Tally,
        metrics: UsageMetrics,
        *,
        billing: Callable[[], Billing | None],
        timeout_seconds: float,
    ) -> None:
        self._proxies = proxies
        self._tally = tally
        self._metrics = metrics
        self._billing = billing
        self._timeout_seconds = timeout_seconds
        self._wanted = asyncio.Event()
        self._attempted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._problem: str | None = None

    def want(self) -> None:
        """Something may be there to send."""
        self._wanted.set()

    async def run(self) -> None:
        """Send what is wanted until cancelled; a report whose answer never came is sent again."""
        backoff = Backoff()
        async with proxy_client(self._proxies, timeout_seconds=self._timeout_seconds) as client:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                all_taken = await self._send_all(client)
                self._attempted.set()
                if all_taken:
                    backoff.reset()
                else:
                    await self._rest(backoff.next_seconds())

    async def finish(self) -> None:
        """Return when nothing is left to send; the first attempt is made at once, whatever failed before."""
        self._hurried.set()
        while self._tally.unsent and self._billing() == "usage":
            self._attempted.clear()
            self.want()
            await self._attempted.wait()

    async def _send_all(self, client: ProxyClient) -> bool:
        """Send batch after batch until nothing is left or nobody takes it; tells whether that went well."""
        while self._billing() == "usage":
            batch = self._tally.batch(MAX_REPORTS)
            if not batch:
                break
            try:
                receipt = await client.ask("POST", USAGE_PATH, body=_body(batch), parse=_receipt_of(len(batch)))
            except ProxiesAwayError as error:
                self._metrics.failed.inc(len(batch))
                self._note_problem(str(error))
                return False
            self._note_problem(None)
            self._settle(batch, receipt)
        return True

    def _settle(self, batch: Sequence[UsageReport], receipt: UsageReceipt) -> None:
        rejected = {each.index: each.reason for each in receipt.rejected}
        for index, reason in rejected.items():
            report = batch[index]
            log.error(
                "usage report %d of session %s is rejected: %s",
                report.sequence,
                report.session_id,
                ascii(reason[:MAX_REASON]),
            )
        self._metrics.rejected.inc(len(rejected))
        self._metrics.acknowledged.inc(len(batch) - len(rejected))
        self._tally.settle(batch)

    async def _rest(self, seconds: float) -> None:
        """Wait before the next attempt; who is told to finish makes one at once, and rests only after that."""
        if self._hurried.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), seconds)

    def _note_problem(self, problem: str | None) -> None:
        if problem == self._problem:
            return
        if problem is None:
            log.info("usage is delivered again")
        else:
            log.warning("usage cannot be delivered: %s; %d reports wait", problem, self._tally.unsent)
        self._problem = problem


def _body(batch: Sequence[UsageReport]) -> bytes:
    """A ``UsageBatch``."""
    return b'{"reports":[' + b",".join(report.model_dump_json().encode() for report in batch) + b"]}"


def _receipt_of(reports: int) -> Callable[[bytes], UsageReceipt]:
    """What reads the answer to a batch of so many."""

    def parse(body: bytes) -> UsageReceipt:
        try:
            receipt = UsageReceipt.model_validate_json(body)
        except ValidationError:
            raise UnusableAnswerError(f"{USAGE_PATH} answered no receipt") from None
        if not all(0 <= rejected.index < reports for rejected in receipt.rejected):
            raise UnusableAnswerError(f"{USAGE_PATH} rejects reports that were not sent")
        return receipt

    return parse
