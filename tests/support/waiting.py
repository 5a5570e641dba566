"""Await a fact instead of sleeping: whatever changes calls ``notify``, whoever waits names a predicate."""

import asyncio
from collections.abc import Awaitable, Callable

TIMEOUT_SECONDS = 20.0
"""Far beyond what a loaded machine needs; only a failing test waits this long."""


ASK_AGAIN_SECONDS = 0.05


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask another process until it says so; it has no event to wait for. Raises TimeoutError when it never does."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(ASK_AGAIN_SECONDS)


class Waiting:
    """Something whose changes can be awaited."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Say that something changed."""
        self._changed.set()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Return when ``predicate`` holds. Raises TimeoutError when it never does."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not predicate():
                self._changed.clear()
                await self._changed.wait()
