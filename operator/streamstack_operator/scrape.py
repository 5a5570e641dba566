"""Asks pods what they serve, over their internal HTTP ports, with the stack's credential."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from pydantic import BaseModel, ValidationError

from streamstack_common.license_status import LICENSE_PATH, STATUS_PATH, LicenseReport, LicenseStatus
from streamstack_common.sessions_report import SessionsReport
from streamstack_common.usage import BACKLOG_PATH, UsageBacklog
from streamstack_operator.facts import PodFacts, ProxyFacts
from streamstack_operator.names import INTERNAL_PORT, LICENSE_PORT, Component

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 3.0
"""A pod that takes longer is one that cannot be asked: it counts as busy (DESIGN 3, unknown-is-busy)."""

AT_ONCE: Final = 64
ANSWER_BYTES: Final = 256 * 1024
"""Sixteen pools are a few kilobytes; whatever is longer is no report."""

SERVES_SESSIONS: Final = frozenset({Component.GATEWAY, Component.ASR})
SESSIONS_PATH: Final = "/sessions"

Body = TypeVar("Body", bound=BaseModel)


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

    async def proxies(self, pods: Iterable[PodFacts], token: str) -> Mapping[str, ProxyFacts]:
        """Return what license proxies say, by uid; one that says nothing is not in it."""
        asked = [pod for pod in pods if pod.component is Component.LICENSE and pod.ip is not None]
        found = await asyncio.gather(*(self._proxy(pod, token) for pod in asked))
        return {pod.uid: facts for pod, facts in zip(asked, found, strict=True) if facts != ProxyFacts()}

    async def accepting(self, pods: Iterable[PodFacts], token: str) -> frozenset[str]:
        """Return the uids of pods that accept ``token``."""
        asked = [pod for pod in pods if pod.component in {*SERVES_SESSIONS, Component.LICENSE} and pod.ip is not None]
        bodies = await asyncio.gather(*(self._get(_url(pod), token) for pod in asked))
        return frozenset(pod.uid for pod, body in zip(asked, bodies, strict=True) if body is not None)

    async def _report(self, pod: PodFacts, token: str) -> SessionsReport | None:
        report = _read(pod, SESSIONS_PATH, SessionsReport, await self._get(_url(pod), token))
        # Another pod at a recycled address, or a process that was started by hand.
        return report if report is not None and report.revision in {"", pod.revision} else None

    async def _proxy(self, pod: PodFacts, token: str) -> ProxyFacts:
        paths = (STATUS_PATH, LICENSE_PATH, BACKLOG_PATH)
        status, license_, backlog = await asyncio.gather(*(self._get(_license_url(pod, path), token) for path in paths))
        said = _read(pod, STATUS_PATH, LicenseStatus, status)
        return ProxyFacts(
            license=_read(pod, LICENSE_PATH, LicenseReport, license_),
            extra_keys=said is not None and said.extra_keys,
            backlog=_read(pod, BACKLOG_PATH, UsageBacklog, backlog),
        )

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
    if pod.component is Component.LICENSE:
        return _license_url(pod, STATUS_PATH)
    return f"http://{_host(pod)}:{INTERNAL_PORT}{SESSIONS_PATH}"


def _license_url(pod: PodFacts, path: str) -> str:
    return f"http://{_host(pod)}:{LICENSE_PORT}{path}"


def _host(pod: PodFacts) -> str | None:
    return f"[{pod.ip}]" if pod.ip and ":" in pod.ip else pod.ip


def _read(pod: PodFacts, path: str, kind: type[Body], body: bytes | None) -> Body | None:
    if body is None:
        return None
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        log.warning("%s: %s is no %s: %s", pod.name, path, kind.__name__, error.errors(include_input=False)[0]["msg"])
        return None
