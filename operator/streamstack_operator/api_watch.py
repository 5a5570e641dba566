"""Whether the API server answers and is one this operator knows: what readiness and a metric tell."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from streamstack_operator.kube import OLDEST_MINOR, KubeError

log = logging.getLogger(__name__)

NOT_ASKED: Final = "the API server was not asked yet"


class Versioned(Protocol):
    """What the watch needs of the API server."""

    async def version(self) -> tuple[int, int]:
        """Return (major, minor); raises KubeError."""


class ApiWatch:
    """Asks the API server again and again; ``problem`` is why the operator cannot work, None while it can.

    ``back`` is called when it answers after it did not.
    """

    def __init__(self, server: Versioned, *, every_seconds: float, back: Callable[[], None] = lambda: None) -> None:
        self._server = server
        self._every_seconds = every_seconds
        self._back = back
        self.problem: str | None = NOT_ASKED

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Ask once; a change of state is logged, once."""
        before = self.problem
        try:
            version = await self._server.version()
        except KubeError as error:
            self.problem = str(error)
        else:
            self.problem = _unsupported(version)
        if self.problem == before:
            return
        if self.problem is None:
            log.info("the API server answers: Kubernetes %d.%d", *version)
            if before != NOT_ASKED:
                self._back()
        else:
            log.warning("%s", self.problem)


def _unsupported(version: tuple[int, int]) -> str | None:
    if version >= (1, OLDEST_MINOR):
        return None
    return f"the API server is Kubernetes {version[0]}.{version[1]}, expected 1.{OLDEST_MINOR} or later"
