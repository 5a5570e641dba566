"""A control plane's keeper, seen from outside: starting one, telling it what to start, finding it and ending it."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from devcluster import processes
from devcluster.commands import TAIL_LINES
from devcluster.errors import DevError
from devcluster.processes import Process

KEEPER = Path(__file__).with_name("keeper.py")
PROGRAMS = frozenset({"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"})
ANSWER_SECONDS = 20.0
END_SECONDS = 10.0
"""Far beyond what a loaded machine needs to start a program, or to free the memory of a killed one."""


class Starting:
    """A keeper while it is told what to start."""

    def __init__(self, folder: Path, orders: IO[bytes], answers: IO[bytes]) -> None:
        self._folder = folder
        self._orders = orders
        self._answers = answers

    def start(self, name: str, command: Sequence[str | Path]) -> int:
        """Start a program; its process id. Raises :class:`DevError` when it cannot be started."""
        self._order({"start": name, "command": [str(part) for part in command]})
        answer: dict[str, int] = json.loads(self._heard(ANSWER_SECONDS) or "{}")
        if "pid" not in answer:
            raise DevError(f"{name} was not started within {ANSWER_SECONDS:g} s", do="see what keeps the machine busy")
        return answer["pid"]

    def watch(self, seconds: float) -> None:
        """Let ``seconds`` pass; :class:`DevError` as soon as a program has ended."""
        self._heard(seconds)

    def keep(self) -> None:
        """What runs now runs on, whatever becomes of this process."""
        self._order({"keep": True})

    def _heard(self, seconds: float) -> bytes:
        if not select.select([self._answers], [], [], seconds)[0]:
            return b""
        answer = self._answers.read(select.PIPE_BUF)  # unbuffered, and far below PIPE_BUF: it comes whole
        if not answer:
            raise self._ended()
        return answer

    def _order(self, order: dict[str, Any]) -> None:
        try:
            self._orders.write(json.dumps(order).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._ended() from error

    def _ended(self) -> DevError:
        if not self._folder.exists():
            return DevError("the process that the control plane was to die with is gone", do="name one that runs")
        name, how = what_ended(self._folder) or ("keeper", "ended")
        said = last_words(self._folder / "logs" / f"{name}.log")
        return DevError(f"{name} {how} while the control plane was starting\n{said}", do="read the log")


@contextmanager
def starting(folder: Path, *, die_with: int | None) -> Iterator[Starting]:
    """Start a keeper for ``folder``, which has ``logs/``. It ends after the block unless it was told to keep.

    With ``die_with``, a process id, it ends and removes ``folder`` when that process is gone.
    """
    with (folder / "logs" / "keeper.log").open("wb") as log:
        launcher = subprocess.Popen(
            # -I -S: no environment, no site-packages; the keeper needs the standard library alone.
            [sys.executable, "-I", "-S", KEEPER, folder, *([] if die_with is None else [str(die_with)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,
        )
    with launcher:
        yield Starting(folder, cast("IO[bytes]", launcher.stdin), cast("IO[bytes]", launcher.stdout))


def last_words(log: Path) -> str:
    """Return the last lines a Go program said itself: a panic's stack comes after what it was about."""
    said, _, _ = log.read_text(errors="replace").partition("\ngoroutine ")
    return "\n".join(f"    {line}" for line in said.splitlines()[-TAIL_LINES:])


def what_ended(folder: Path) -> tuple[str, str] | None:
    """Return which program ended by itself and how ("was killed by SIGKILL"); it took the others with it."""
    try:
        ended = json.loads((folder / "ended.json").read_text())
    except FileNotFoundError:
        return None
    return ended["name"], ended["how"]


def is_kept(folder: Path) -> bool:
    """Whether a keeper runs for this folder."""
    return any(_is_keeper(process, folder) for process in processes.running())


def end(folder: Path) -> None:
    """End whatever runs for this folder and wait until it is gone. Raises :class:`DevError` when it does not end."""
    _end([process for process in processes.running() if _is_keeper(process, folder)], folder)
    # Where the keeper was killed its programs are dying already, but may still write.
    _end([process for process in processes.running() if _is_program(process, folder)], folder)


def _end(running: Sequence[Process], folder: Path) -> None:
    for process in running:
        try:
            ended = processes.end(process, seconds=END_SECONDS) or processes.read(process.pid) != process
        except PermissionError as error:
            raise DevError(f"process {process.pid} of {folder} is another user's", do="ask its owner") from error
        if not ended:
            raise DevError(f"process {process.pid} of {folder} does not end", do=f"see /proc/{process.pid}/stack")


def _is_keeper(process: Process, folder: Path) -> bool:
    return process.names(KEEPER.name) and str(folder) in process.arguments


def _is_program(process: Process, folder: Path) -> bool:
    try:
        return process.program in PROGRAMS and Path(f"/proc/{process.pid}/cwd").readlink() == folder
    except OSError:
        return False  # it ended meanwhile, or belongs to somebody else
