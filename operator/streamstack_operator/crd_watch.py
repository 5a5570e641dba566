"""Whether the API server serves our CRD, and one that has all the fields this operator reads."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from streamstack_operator.facts import Problem
from streamstack_operator.kube import KubeError
from streamstack_operator.names import GROUP, PLURAL, Reason

log = logging.getLogger(__name__)

SOON_SECONDS: Final = 5.0
"""Between looks while there is no CRD, or an older one: somebody is about to install it."""
EVERY_SECONDS: Final = 300.0
NAMED_FIELDS: Final = 5

NOT_ASKED: Final = "the API server was not asked for its CRDs yet"
MISSING: Final = f"there is no CRD {PLURAL}.{GROUP}: install it (the operator's chart has it); nothing else is to do"


class Schemas(Protocol):
    """What the watch needs of the API server."""

    async def served_schema(self) -> Mapping[str, Any] | None:
        """Return OpenAPI v3 of our group, None while no CRD is served; raises KubeError."""


class CrdWatch:
    """Looks at the served CRD again and again.

    ``served`` is set while there is one. ``outdated`` is what stacks are told while it lacks fields. ``problem`` is why
    the operator is not ready.
    """

    def __init__(
        self,
        server: Schemas,
        missing_fields: Callable[[Mapping[str, Any]], tuple[str, ...]],
        *,
        changed: Callable[[Problem | None], None] = lambda _outdated: None,
        soon_seconds: float = SOON_SECONDS,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._server = server
        self._missing_fields = missing_fields
        self._changed = changed
        self._soon_seconds = soon_seconds
        self._every_seconds = every_seconds
        self._news = asyncio.Event()
        self.served = asyncio.Event()
        self.outdated: Problem | None = None
        self.problem: str | None = NOT_ASKED

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.look()
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds if self.problem is None else self._soon_seconds):
                    await self._news.wait()

    async def look(self) -> None:
        """Ask once; whoever finds the kind missing may. What is known stays when the API server does not answer."""
        try:
            schema = await self._server.served_schema()
        except KubeError as error:
            log.debug("the CRD could not be looked at: %s", error)
            return
        if schema is None:
            self.served.clear()
            self._know(outdated=None, problem=MISSING)
            return
        missing = self._missing_fields(schema)
        outdated = _outdated(missing) if missing else None
        self._know(outdated=outdated, problem=outdated.message if outdated else None)
        self.served.set()

    def _know(self, *, outdated: Problem | None, problem: str | None) -> None:
        if problem != self.problem:
            log.log(logging.INFO if problem is None else logging.WARNING, "%s", problem or "the CRD is served")
            self._news.set()
        self.problem = problem
        if outdated != self.outdated:
            self.outdated = outdated
            self._changed(outdated)


def _outdated(missing: tuple[str, ...]) -> Problem:
    more = f" and {len(missing) - NAMED_FIELDS} more" if len(missing) > NAMED_FIELDS else ""
    fields = f"{', '.join(missing[:NAMED_FIELDS])}{more}"
    return Problem(
        Reason.CRD_OUTDATED,
        f"the CRD {PLURAL}.{GROUP} is an older one, it lacks {fields}: apply the one of this operator's version",
    )
