"""Facts about other processes, which announce nothing: asked until they hold or a deadline far away passes."""

import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_SECONDS = 60.0


def wait_until(holds: Callable[[], object]) -> None:
    """Return when ``holds`` does; fails when it never does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody waited for yet (a zombie) has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
