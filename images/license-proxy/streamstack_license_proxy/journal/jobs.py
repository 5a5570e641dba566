"""Work for a journal's thread, and how those who wait for it are told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from streamstack_license_proxy.journal.errors import JournalError
from streamstack_license_proxy.journal.store import Store

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """Work on the store, inside a transaction, and who waits for it to be on disk.

    With ``renew`` the work is to replace the journal, for that reason, unless ``work`` answers False.
    """

    work: Callable[[Store], Result]
    done: "asyncio.Future[Result]"
    weight: int = 0
    renew: str | None = None


def resolve(jobs: Sequence[Job[Any]], outcome: JournalError | Sequence[object]) -> None:
    """Tell those who wait, each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job[Any], object]]] = {}
    for index, job in enumerate(jobs):
        result = outcome if isinstance(outcome, JournalError) else outcome[index]
        by_loop.setdefault(job.done.get_loop(), []).append((job, result))
    for loop, results in by_loop.items():
        # A loop that is closed has nobody left who waits.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_tell, results)


def _tell(results: Sequence[tuple[Job[Any], object]]) -> None:
    for job, result in results:
        if job.done.done():
            continue
        if isinstance(result, JournalError):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
