"""What every service does with its own process: keep secrets in, stop when asked, say when it is ready."""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
from collections.abc import Coroutine
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
ANNOUNCE_FD: Final = "STREAMSTACK_ANNOUNCE_FD"

_libc = ctypes.CDLL(None, use_errno=True)


def seal() -> None:
    """Keep audio and transcripts in memory out of core dumps and out of other processes' reach (prctl(2))."""
    _prctl(PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def open_files_to_the_limit() -> None:
    """Raise the soft limit of open files to the hard one: every client is a socket."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def die_with_parent() -> None:
    """Have the kernel end this process with SIGTERM when the thread that started it ends (prctl(2)).

    Only for a process that a parent waits to hear of (:func:`announce`); call it before that. In a container the
    parent is the runtime's shim: its threads come and go, and its death must not end live sessions.
    A parent that is gone already sends nothing any more, so this process then sends itself the same signal.
    """
    descriptor = os.environ.get(ANNOUNCE_FD)
    if descriptor is None:
        return
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or _nobody_reads(int(descriptor)):
        signal.raise_signal(signal.SIGTERM)


def die_at_once_with(parent: int) -> None:
    """Have the kernel end this process with SIGKILL when the thread of ``parent`` that started it ends (prctl(2)).

    For a process that is a part of another service and has nothing to finish without it.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before this call
        signal.raise_signal(signal.SIGKILL)


def _nobody_reads(pipe: int) -> bool:
    """Whether the reading end of a pipe is closed (poll(2), POLLERR): its reader ended, however long ago."""
    poll = select.poll()
    poll.register(pipe, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stop_requested() -> asyncio.Event:
    """Event that SIGTERM or SIGINT sets; call it inside the running loop."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until ``stop``; when it ends or breaks before, so does this, with its error."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (working, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def announce(**addresses: str) -> None:
    """Tell the parent, once, that this service is ready and where it listens.

    One JSON line on the descriptor named by ``STREAMSTACK_ANNOUNCE_FD``; without the variable, nothing. It lets every
    port be chosen by the kernel.
    """
    descriptor = os.environ.pop(ANNOUNCE_FD, None)
    if descriptor is None:
        return
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(addresses) + "\n")
