"""Asks pods what they serve, over their internal HTTP ports, with the stack's credential."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from pydantic import ValidationError

from streamstack_common.license_status import STATUS_PATH, LicenseState, LicenseStatus
from streamstack_common.sessions_report import SessionsReport
from streamstack_operator.facts import PodFacts
from streamstack_operator.names import INTERNAL_PORT, LICENSE_PORT, Component

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 3.0
"""A pod that takes longer is one that cannot be asked: it counts as busy (DESIGN 3, unknown-is-busy)."""

AT_ONCE: Final = 64
ANSWER_BYTES: Final = 256 * 1024
"""Sixteen pools are a few kilobytes; whatever is longer is no report."""

SERVES_SESSIONS: Final = frozenset({Component.GATEWAY, Component.ASR})
TRUST: Final = (LicenseState.FAILED, LicenseState.TRUST_BASED, LicenseState.READY, LicenseState.CONNECTED)
"""Of several proxies the one that knows best speaks: a later state in this order counts more."""


class Scraper:
    """One HTTP client for all pods; use it as an asynchronous context."""

    def __init__(self, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Pods come and go with their addresses: a connection is not kept for the next one that gets the address.
        connector = TCPConnector(limit=AT_ONCE, force_close=True)
        timeout = ClientTimeout(total=self._answer_seconds)
        self._session = ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def reports(self, pods: Iterable[PodFacts], token: str) -> Mapping[str, SessionsReport]:
        """Return what gateways and ASR pods serve, by uid; a pod that cannot be asked is not in it."""
        asked = [pod for pod in pods if pod.component in SERVES_SESSIONS and pod.ip is not None]
        found = await asyncio.gather(*(self._report(pod, token) for pod in asked))
        return {pod.uid: report for pod, report in zip(asked, found, strict=True) if report is not None}

    async def license(self, pods: Iterable[PodFacts], token: str) -> LicenseStatus | None:
        """Return the license's state as the proxies tell it, the best of them; None while none answers."""
        asked = [pod for pod in pods if pod.component is Component.LICENSE and pod.ip is not None]
        bodies = await asyncio.gather(*(self._get(_url(pod), token) for pod in asked))
        found = [status for status in map(_license, bodies) if status is not None]
        return max(found, key=lambda status: TRUST.index(status.state), default=None)

    async def accepting(self, pods: Iterable[PodFacts], token: str) -> frozenset[str]:
        """Return the uids of pods that accept ``token``."""
        asked = [pod for pod in pods if pod.component in {*SERVES_SESSIONS, Component.LICENSE} and pod.ip is not None]
        bodies = await asyncio.gather(*(self._get(_url(pod), token) for pod in asked))
        return frozenset(pod.uid for pod, body in zip(asked, bodies, strict=True) if body is not None)

    async def _report(self, pod: PodFacts, token: str) -> SessionsReport | None:
        body = await self._get(_url(pod), token)
        if body is None:
            return None
        try:
            report = SessionsReport.model_validate_json(body)
        except ValidationError as error:
            log.warning("%s: /sessions is no report: %s", pod.name, error.errors(include_input=False)[0]["msg"])
            return None
        # Another pod at a recycled address, or a process that was started by hand.
        return report if report.revision in {"", pod.revision} else None

    async def _get(self, url: str, token: str) -> bytes | None:
        """Return the body of a 200, None for everything else: the reason does not change that nothing is known."""
        if self._session is None:
            raise RuntimeError("the scraper is used outside its context")
        try:
            async with self._session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
                body = await answer.content.read(ANSWER_BYTES)
                if answer.status == 200 and answer.content.at_eof():
                    return body
                log.info("%s answers %d", url, answer.status)
        except (ClientError, TimeoutError, OSError) as error:
            log.debug("%s does not answer: %s", url, error or type(error).__name__)
        return None


def _url(pod: PodFacts) -> str:
    host = f"[{pod.ip}]" if pod.ip and ":" in pod.ip else pod.ip
    if pod.component is Component.LICENSE:
        return f"http://{host}:{LICENSE_PORT}{STATUS_PATH}"
    return f"http://{host}:{INTERNAL_PORT}/sessions"


def _license(body: bytes | None) -> LicenseStatus | None:
    if body is None:
        return None
    try:
        return LicenseStatus.model_validate_json(body)
    except ValidationError as error:
        log.warning("%s is no license status: %s", STATUS_PATH, error.errors(include_input=False)[0]["msg"])
        return None
