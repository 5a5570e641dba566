"""Asks the license proxy again and again, and tells the gateway whether new sessions may begin."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from pydantic import ValidationError

from streamstack_common.license_status import LICENSE_PATH, LicenseReport, LicenseState
from streamstack_gateway.license import memory
from streamstack_gateway.license.proxies import (
    Proxies,
    ProxiesAwayError,
    ProxyClient,
    UnusableAnswerError,
    proxy_client,
)
from streamstack_gateway.license.view import DEFAULT_TRUST, LicenseView, Terms, Told

log = logging.getLogger(__name__)

JITTER: Final = 0.2
"""Polls come up to this part of the interval early or late, so that gateways do not march in step."""
REMEMBER_EVERY: Final = timedelta(minutes=1)
"""How much later than remembered the last contact may be while the state stays the same: what a killed gateway's
trust is shorter by."""


def utc_now() -> datetime:
    """Return the wall clock: trust is told in it and outlives a process."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How often to ask, how long to wait for an answer, what to trust where the proxy does not say, by which clock."""

    interval_seconds: float = 2.0
    timeout_seconds: float = 2.0
    trust_window: timedelta = DEFAULT_TRUST
    now: Callable[[], datetime] = utc_now


class LicensePoller:
    """What the gateway knows of the license from the proxies: several have one license, any one's word counts.

    Args:
        proxies: whom to ask, in turn where one does not answer.
        registry: where the metrics go.
        state_file: remembers the last state; outlives the container. None remembers nothing.
        policy: how to poll.

    """

    def __init__(
        self,
        proxies: Proxies,
        registry: CollectorRegistry,
        *,
        state_file: Path | None = None,
        policy: PollPolicy | None = None,
    ) -> None:
        self._proxies = proxies
        self._state_file = state_file
        self._policy = policy or PollPolicy()
        self._view = LicenseView(window=self._policy.trust_window)
        self._noted: tuple[LicenseState | None, bool, bool] = (None, False, False)
        self._known = asyncio.Event()
        self._on_change: Callable[[], None] | None = None
        self._problem: str | None = None
        self._memory_problem: str | None = None
        self._remembered: Told | None = None
        # One thread, so that a write that outlives its cancelled poll still comes before the next one.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="license-memory")
        self._random = random.SystemRandom()
        self._task: asyncio.Task[None] | None = None
        self._register(registry)

    @property
    def view(self) -> LicenseView:
        """What is believed now."""
        return self._view

    @property
    def terms(self) -> Terms:
        """What the license asks of gateways, as told last."""
        return self._view.terms

    @property
    def ever_known(self) -> bool:
        """Whether a state was ever told, be it before a restart; until then a gateway is not ready."""
        return self._view.told is not None

    def admits(self) -> str | None:
        """Say why no new session may begin now, or None when it may."""
        return self._view.admits(self._policy.now())

    async def known(self) -> None:
        """Wait until a state is known."""
        await self._known.wait()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called on the event loop whenever the state, reachability or admission changed."""
        self._on_change = callback

    async def start(self) -> None:
        """Take up what was remembered, then poll until :meth:`stop`; does not wait for the proxy."""
        if self._state_file is not None:
            self._remembered = await asyncio.to_thread(memory.recall, self._state_file)
            self._become(LicenseView(self._policy.trust_window, self._remembered))
        self._task = asyncio.create_task(self._run(), name="license-poller")
        self._task.add_done_callback(_report_death)

    async def stop(self) -> None:
        """Stop polling; remembers the last contact."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        if self._view.told != self._remembered:
            await self._remember()
        self._writer.shutdown()

    async def _run(self) -> None:
        async with proxy_client(self._proxies, timeout_seconds=self._policy.timeout_seconds) as client:
            while True:
                await self._poll(client)
                spread = self._random.uniform(1 - JITTER, 1 + JITTER)
                await asyncio.sleep(self._policy.interval_seconds * spread)

    async def _poll(self, client: ProxyClient) -> None:
        try:
            report = await client.ask("GET", LICENSE_PATH, parse=_report)
        except ProxiesAwayError as error:
            self._note_problem(str(error))
            self._become(self._view.unreachable())
            return
        self._note_problem(None)
        self._become(self._view.heard(report, self._policy.now()))
        if self._worth_remembering():
            await self._remember()

    def _become(self, view: LicenseView) -> None:
        self._view = view
        refusal = self.admits()
        if view.told is not None:
            self._known.set()
        noted = (view.state, view.reachable, refusal is None)
        if noted == self._noted:
            return
        self._noted = noted
        log.log(
            logging.INFO if refusal is None else logging.WARNING,
            "license %s, proxy %s: new sessions are %s",
            view.state or "unknown",
            "reachable" if view.reachable else "unreachable",
            "admitted" if refusal is None else f"refused, {refusal}",
        )
        if self._on_change is not None:
            self._on_change()

    def _note_problem(self, problem: str | None) -> None:
        if problem != self._problem and problem is not None:
            log.warning("license proxy unreachable: %s", problem)
        self._problem = problem

    def _worth_remembering(self) -> bool:
        told, remembered = self._view.told, self._remembered
        if told is None or remembered is None:
            return told is not None
        same = replace(told, heard_at=remembered.heard_at) == remembered
        return not same or abs(told.heard_at - remembered.heard_at) >= REMEMBER_EVERY

    async def _remember(self) -> None:
        path, told = self._state_file, self._view.told
        if path is None or told is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, memory.remember, path, told)
        except OSError as error:
            if error.strerror != self._memory_problem:
                log.warning("license memory %s: %s; a restart will not know the state", path, error.strerror)
            self._memory_problem = error.strerror
            return
        self._memory_problem = None
        self._remembered = told

    def _is(self, state: LicenseState | None) -> float:
        return float(self._view.state is state)

    def _register(self, registry: CollectorRegistry) -> None:
        state = Gauge(
            "streamstack_gateway_license_state",
            "1 for the license state last told by the proxy",
            ["state"],
            registry=registry,
        )
        for each in (*LicenseState, None):
            state.labels(state=each or "Unknown").set_function(partial(self._is, each))
        Gauge(
            "streamstack_gateway_license_proxy_reachable", "1 while the license proxy answers", registry=registry
        ).set_function(lambda: float(self._view.reachable))
        Gauge(
            "streamstack_gateway_license_admits", "1 while the license lets sessions begin", registry=registry
        ).set_function(lambda: float(self.admits() is None))


def _report(body: bytes) -> LicenseReport:
    try:
        return LicenseReport.model_validate_json(body)
    except ValidationError as error:
        fields = {".".join(map(str, problem["loc"])) or "body" for problem in error.errors(include_input=False)}
        raise UnusableAnswerError(f"{LICENSE_PATH} answered a wrong {', '.join(sorted(fields))}") from None


def _report_death(task: asyncio.Task[None]) -> None:
    """Say that polling ended by a defect: what is believed would go stale in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("license poller died", exc_info=task.exception())
