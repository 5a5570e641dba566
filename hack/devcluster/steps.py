"""A progress line per step with its time, and a log file per step that is kept."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from devcluster.errors import DevError, Interrupted


class Steps:
    """Progress of one command: one line when a step begins, one with its seconds when it is over.

    Every step may write to a log file of its own in ``logs``; an error names it.
    """

    def __init__(self, logs: Path, *, out: TextIO | None = None) -> None:
        self.logs = logs
        self._out = out or sys.stderr
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line, with the seconds since the command began."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", file=self._out, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Path]:
        """Time a step; yields its log file. ``name`` reads as what is going on ("creating three nodes")."""
        log = self.log_file(name)
        began = time.monotonic()
        self.say(f"{name} ...")
        try:
            yield log
        except Interrupted:
            self.say(f"{name}: interrupted after {time.monotonic() - began:.1f} s")
            raise
        except DevError:
            where = f", log in {log}" if log.exists() else ""
            self.say(f"{name}: failed after {time.monotonic() - began:.1f} s{where}")
            raise
        self.say(f"{name}: done in {time.monotonic() - began:.1f} s")

    def log_file(self, name: str) -> Path:
        """Return where a step's log goes; the folder is made, the file is begun anew."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{'-'.join(''.join(c if c.isalnum() else ' ' for c in name.lower()).split())}.log"
        log.unlink(missing_ok=True)
        return log
