"""A license authority that answers what a test tells it to: what the real one would never say."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from streamstack_common.authority import CHECKIN_AUDIENCE, CHECKINS_PATH, JOURNALS_PATH, CheckIn
from streamstack_common.license import verify
from support.signer import Signer
from support.waiting import Waiting

Answer = Callable[[CheckIn], web.StreamResponse]


@dataclass
class Asked:
    """One request."""

    path: str
    authorization: str | None
    body: str


class ScriptedAuthority(Waiting):
    """Answers check-ins like the real one, until ``answer`` is replaced. ``asked`` is everything it was sent."""

    def __init__(self, signer: Signer) -> None:
        super().__init__()
        self.signer = signer
        self.url = ""
        self.asked: list[Asked] = []
        self.answer: Answer = self.good
        self.records: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    def verdict(self, question: CheckIn, *, by: Signer | None = None, **changes: Any) -> web.Response:
        """A signed answer with changes; None leaves a claim out."""
        claims = {
            "aud": CHECKIN_AUDIENCE,
            "sub": verify(question.license.encode(), self.signer.keyring()).license_id,
            "nonce": question.nonce,
            "iat": int(time.time()),
            "verdict": "good",
        }
        wanted = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return web.json_response({"answer": (by or self.signer).sign(wanted).decode()})

    def good(self, question: CheckIn) -> web.Response:
        """The license is good."""
        return self.verdict(question)

    def revoked(self, question: CheckIn) -> web.Response:
        """The license is revoked."""
        return self.verdict(question, verdict="revoked")

    async def checkin(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        return self.answer(CheckIn.model_validate_json(body))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        await self._note(request)
        assert self.records is not None
        return await self.records(request)

    async def _note(self, request: web.Request) -> str:
        body = await request.text()
        self.asked.append(Asked(request.path, request.headers.get("Authorization"), body))
        self.notify()
        return body


@asynccontextmanager
async def scripted_authority(signer: Signer | None = None, *, port: int = 0) -> AsyncIterator[ScriptedAuthority]:
    """Run one on loopback, in the test's own process."""
    authority = ScriptedAuthority(signer or Signer())
    app = web.Application(client_max_size=2 * 1024 * 1024)
    app.router.add_post(CHECKINS_PATH, authority.checkin)
    app.router.add_post(f"{JOURNALS_PATH}/{{journal}}/records", authority.upload)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    authority.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield authority
    finally:
        await runner.cleanup()
