"""A license proxy's stand-in that keeps what gateways report: answers as told, on an address that outlives it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from streamstack_common.license_status import LICENSE_PATH
from streamstack_common.usage import USAGE_PATH, UsageReport
from streamstack_gateway.usage.spool import Spool
from support.waiting import Waiting


@dataclass
class UsageSink(Waiting):
    """One proxy. ``reports`` are those it acknowledged, in the order they came, repeated ones included."""

    port: int = 0
    license: dict[str, Any] = field(default_factory=lambda: {"state": "Ready", "billing": "usage", "models": ["*"]})
    reports: list[UsageReport] = field(default_factory=list)
    refuse_status: int | None = None
    reject: str | None = None
    requests: int = 0
    polls: int = 0
    authorizations: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, session_id: str) -> list[UsageReport]:
        return [report for report in self.reports if report.session_id == session_id]

    @property
    def billed(self) -> dict[str, int]:
        """As the authority bills: of each session the report with the highest sequence."""
        best: dict[str, UsageReport] = {}
        for report in self.reports:
            if report.session_id not in best or report.sequence > best[report.session_id].sequence:
                best[report.session_id] = report
        return {session_id: report.audio_ms for session_id, report in best.items()}

    @property
    def outcomes(self) -> dict[str, str]:
        return {report.session_id: report.outcome for report in self.reports if report.outcome is not None}

    async def up(self) -> None:
        """Listen, at the same address as before."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_get(LICENSE_PATH, self._license)
        app.router.add_post(USAGE_PATH, self._usage)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Be away: connections end, new ones are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _license(self, _request: web.Request) -> web.Response:
        self.polls += 1
        self.notify()
        return web.json_response(self.license)

    async def _usage(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.authorizations.add(request.headers.get("Authorization"))
        body = await request.json()
        if self.refuse_status is not None:
            self.notify()
            return web.Response(status=self.refuse_status)
        reports = [UsageReport.model_validate(each, strict=False) for each in body["reports"]]
        rejected = [
            {"index": index, "reason": "not wanted"}
            for index, report in enumerate(reports)
            if report.session_id == self.reject
        ]
        self.reports += [report for report in reports if report.session_id != self.reject]
        self.notify()
        return web.json_response({"rejected": rejected})


def spooled(path: Path) -> set[UsageReport]:
    """What another process finds in a gateway's spool; the gateway may still be there, or have been killed."""
    if not path.exists():
        return set()
    spool = Spool(path)
    try:
        return set(spool.open())
    finally:
        spool.close()


@asynccontextmanager
async def usage_sink() -> AsyncIterator[UsageSink]:
    """A sink that is up."""
    sink = UsageSink()
    await sink.up()
    try:
        yield sink
    finally:
        await sink.down()
