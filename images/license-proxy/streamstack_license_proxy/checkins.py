"""Asks the license authority again and again whether the license is still good."""

import asyncio
import contextlib
import logging
import random
import secrets
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from streamstack_common.authority import CheckIn, Verdict
from streamstack_common.keyring import Keyring
from streamstack_common.license import License
from streamstack_license_proxy.authority import Authority, AuthorityError, AuthorityRefusedError
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.pacing import interval_seconds, pause_seconds
from streamstack_license_proxy.verdict import UnprovenAnswerError, authority_time, proven

log = logging.getLogger(__name__)

RESULTS: Final = ("good", "revoked", "refused", "unproven", "unreachable")


class CheckIns:
    """The loop, and one attempt.

    Args:
        keeper: has the license, and is told what came of it.
        authority: whom to ask.
        keyring: who may answer.
        registry: where the metrics go.
        setting_seconds: between good check-ins, where the license does not want more of them.

    """

    def __init__(
        self,
        keeper: LicenseKeeper,
        authority: Authority,
        keyring: Keyring,
        registry: CollectorRegistry,
        *,
        setting_seconds: float,
    ) -> None:
        self._keeper = keeper
        self._authority = authority
        self._keyring = keyring
        self._setting_seconds = setting_seconds
        self._random = random.SystemRandom()
        self._changed = keeper.changes()
        self._failures = 0
        self._heard_at = keeper.now()
        self._count = Counter(
            "streamstack_license_checkins", "Check-ins with the license authority", ["result"], registry=registry
        )
        for result in RESULTS:
            self._count.labels(result=result)

    def away_seconds(self) -> float:
        """How long the authority has been silent: no word of it, neither yes nor no. 0 where it is not asked.

        Starts with this process, and anew with each license.
        """
        if self._keeper.online() is None:
            return 0.0
        return max(0.0, self._keeper.now().boottime_seconds - self._heard_at.boottime_seconds)

    async def run(self) -> None:
        """Check in until cancelled, with the first pause first: a process begins with one :meth:`attempt`."""
        while True:
            if await self._license_changed():
                self._failures, self._heard_at = 0, self._keeper.now()
            await self.attempt()

    async def attempt(self) -> str | None:
        """Check in once; says why it was not good, or None. Revoked is an answer, and offline needs none."""
        self._changed.clear()
        online = self._keeper.online()
        if online is None:
            return None
        license_, token = online
        try:
            verdict = await self._ask(license_, token)
        except (AuthorityError, UnprovenAnswerError) as error:
            return await self._failed(license_, error)
        self._failures, self._heard_at = 0, self._keeper.now()
        if verdict.verdict == "revoked":
            self._count.labels(result="revoked").inc()
            await self._keeper.revoked(license_.license_id)
        else:
            self._count.labels(result="good").inc()
            await self._keeper.good(license_.license_id, authority_time=authority_time(verdict))
        return None

    async def _license_changed(self) -> bool:
        """Wait for the time of the next check-in, or for another license: that is what it tells."""
        online = self._keeper.online()
        if online is None:
            await self._changed.wait()
            return True
        interval = interval_seconds(self._setting_seconds, online[0].trust_window_seconds)
        pause = pause_seconds(interval, self._failures, self._random.random())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()
        return self._changed.is_set()

    async def _ask(self, license_: License, token: str) -> Verdict:
        question = CheckIn(license=token, nonce=secrets.token_urlsafe(24), instance_id=self._keeper.instance_id)
        answer = await self._authority.check_in(question, with_key=license_.billing == "usage")
        return proven(answer, question, license_id=license_.license_id, keyring=self._keyring)

    async def _failed(self, license_: License, error: Exception) -> str:
        self._failures += 1
        result, problem = "unreachable", str(error)
        if isinstance(error, UnprovenAnswerError):
            result, problem = "unproven", f"what answers is not the license authority: {error}"
        elif isinstance(error, AuthorityRefusedError):
            result = "refused"
            self._heard_at = self._keeper.now()
        self._count.labels(result=result).inc()
        if problem != self._keeper.problem:
            log.warning("check-in failed: %s", problem)
        await self._keeper.failed(license_.license_id, problem)
        return problem
