"""Moments that no signal may cut in two: undoing what was begun, and beginnings that cannot be told from outside."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devcluster.commands import SIGNALS


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal interrupt the block; a second Ctrl-C must not leave half of an undoing."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait until the block is over.

    For a request that an engine completes even if its client is killed: what it made has to be known before it can be
    removed. To be used for a few seconds at most.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
