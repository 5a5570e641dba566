"""The seed's fail-safe, off by default: a proxy that cannot report usage for too long ends itself.

The seed does so to protect a queue in memory. Ours is on disk, and gateways keep what no proxy takes; this is for
who wants to be told by a container that is replaced.
"""

import asyncio
from collections.abc import Callable
from typing import Final

SELF_TERMINATED: Final = 75
"""Exit status, ``EX_TEMPFAIL`` of sysexits.h: nothing else of ours ends with it."""

LOOK_SECONDS: Final = 1.0


class AuthorityAwayError(Exception):
    """The authority was away for too long."""


async def end_when_away(away_seconds: Callable[[], float], *, minutes: int) -> None:
    """Watch until the authority was away for ``minutes``.

    Raises:
        AuthorityAwayError: it was.

    """
    while True:
        if away_seconds() >= minutes * 60:
            raise AuthorityAwayError(
                f"the license authority was away for {minutes} minutes: USAGE_SELF_TERMINATE_MINUTES ends this proxy"
            )
        await asyncio.sleep(LOOK_SECONDS)
