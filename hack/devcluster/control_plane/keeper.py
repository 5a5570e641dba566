"""The process that a control plane's processes live and die with.

Run by path, so that it loads nothing but this file: ``python keeper.py FOLDER [PID]``. It works in a session of its own
and outlives the terminal, and

- starts what it is told on standard input, one JSON object a line: ``{"start": NAME, "command": [...]}``, answered on
  standard output with ``{"pid": N}``; programs run in FOLDER and write to ``FOLDER/logs/NAME.log``;
- ends everything when standard input closes before ``{"keep": true}`` came: whoever was starting it is gone;
- ends everything when one of its programs ends, and says which in ``FOLDER/ended.json``: half of one is none;
- ends everything on SIGTERM; once it is gone, so are its programs, even where it was killed (PR_SET_PDEATHSIG);
- with a PID, ends everything and removes FOLDER when that process is gone, however it went.

What it keeps is disposable, so ending means SIGKILL.
"""

import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Keeper:
    """The programs of one control plane and what they are watched with."""

    def __init__(self, folder: Path, *, die_with: int | None) -> None:
        self._folder = folder
        self._die_with = die_with
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._watched = selectors.DefaultSelector()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._unread = b""
        self._remove = False

    def run(self) -> None:
        """Serve until there is a reason to end; everything is over when this returns or raises."""
        try:
            self._watched.register(sys.stdin.fileno(), selectors.EVENT_READ, self._obey)
            if self._die_with is not None:
                self._follow(self._die_with)
            while True:
                for key, _ in self._watched.select():
                    key.data()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for program in self._programs.values():
                program.kill()
            for program in self._programs.values():
                program.wait()
            if self._remove:
                shutil.rmtree(self._folder)

    def _obey(self) -> None:
        received = os.read(sys.stdin.fileno(), 65536)
        if not received:
            sys.exit("whoever was starting this is gone")
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            order: dict[str, Any] = json.loads(line)
            if "keep" in order:
                self._watched.unregister(sys.stdin.fileno())
                _let_go_of_the_starter()
            else:
                self._start(order["start"], order["command"])

    def _start(self, name: str, command: list[str]) -> None:
        keeper = os.getpid()

        def die_with_keeper() -> None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:  # it was gone before prctl
                os._exit(1)

        try:
            with (self._folder / "logs" / f"{name}.log").open("ab") as log:
                program = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_keeper,  # noqa: PLW1509 - this process has one thread
                )
        except OSError as error:
            self._end(name, f"could not be started: {error.strerror} ({error.filename})")
        self._programs[name] = program
        self._watched.register(os.pidfd_open(program.pid), selectors.EVENT_READ, lambda: self._mourn(name))
        print(json.dumps({"pid": program.pid}), flush=True)

    def _mourn(self, name: str) -> None:
        status = self._programs[name].wait()
        self._end(
            name, f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        )

    def _end(self, name: str, how: str) -> NoReturn:
        (self._folder / "ended.json").write_text(json.dumps({"name": name, "how": how}))
        sys.exit(f"{name} {how}")

    def _follow(self, pid: int) -> None:
        def be_gone() -> NoReturn:
            self._remove = True
            sys.exit(f"process {pid} is gone")

        try:
            self._watched.register(os.pidfd_open(pid), selectors.EVENT_READ, be_gone)
        except ProcessLookupError:
            be_gone()


def _let_go_of_the_starter() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, sys.stdin.fileno())
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def main() -> None:
    """Leave the starter's process tree, then keep."""
    if os.fork() != 0:
        os._exit(0)  # what remains belongs to init: nobody has to wait for it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("was told to end"))
    Keeper(Path(sys.argv[1]), die_with=int(sys.argv[2]) if len(sys.argv) > 2 else None).run()


if __name__ == "__main__":
    main()
