"""Running other programs: output into a log or back, typed errors, and nothing left running when interrupted."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devcluster.errors import DevError, Interrupted

TAIL_LINES = 12
STOP_SECONDS = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Starting:
    """Holds an interrupt back while a program is started: until somebody knows that it runs, nobody would end it."""

    held: bool = False
    came: str | None = None

    def interrupt(self, signal_name: str) -> None:
        if not self.held:
            raise Interrupted(signal_name)
        self.came = signal_name

    def hold(self) -> None:
        # Signals are handled in the main thread; what other threads start, the main one does not interrupt.
        if threading.current_thread() is threading.main_thread():
            self.held = True

    def release(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.held = False
            came, self.came = self.came, None  # once: what undoes the rest runs programs, too
            if came is not None:
                raise Interrupted(came)


_starting = _Starting()


def raise_on_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`Interrupted`, so that every ``finally`` runs."""

    def interrupt(number: int, _frame: object) -> None:
        ignore_signals()
        _starting.interrupt(signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, interrupt)


def ignore_signals() -> None:
    """Let nothing interrupt an undoing; a second Ctrl-C must not leave half of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
    do: str = "read the log",
) -> None:
    """Run a program with its output in ``log``.

    ``env`` is added to this process's environment. The program gets a session of its own, so that Ctrl-C reaches only
    this process, which then ends the whole group. Raises :class:`DevError` with the log's last lines when the program
    cannot be started, ends with another status than 0, or takes longer than ``timeout_seconds``.
    """
    with log.open("ab") as output:
        status = _wait(command, output=output, env=env, stdin=stdin, cwd=cwd, timeout_seconds=timeout_seconds)[0]
    if status != 0:
        raise DevError(f"`{shown(command)}` {_ended(status)}\n{tail(log)}", do=f"{do} ({log})")


def capture(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = 60,
    do: str = "try it by hand",
) -> str:
    """Run a program and return its standard output; :class:`DevError` with its standard error when it fails."""
    status, output, errors = _wait(command, output=None, env=env, stdin=stdin, cwd=cwd, timeout_seconds=timeout_seconds)
    if status != 0:
        raise DevError(f"`{shown(command)}` {_ended(status)}: {errors.strip() or output.strip()}", do=do)
    return output


def attempt(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_seconds: float | None = 60,
) -> tuple[int, str, str]:
    """Run a program that may well fail; its status, standard output and standard error.

    A program that is not there answers 127, one that took longer than ``timeout_seconds`` 124, as shells say it.
    """
    try:
        return _wait(command, output=None, env=env, stdin=stdin, cwd=None, timeout_seconds=timeout_seconds)
    except DevError as error:
        return (124 if "longer than" in error.what else 127), "", error.what


def shown(command: Sequence[str | Path]) -> str:
    """Return a command as a person would read it, cut at a length that fits an error."""
    text = " ".join(str(part) for part in command)
    return text if len(text) <= 160 else f"{text[:157]}..."


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented."""
    text = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join(f"    {line}" for line in text)


def _ended(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _wait(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | None,
    env: Mapping[str, str] | None,
    stdin: bytes | None,
    cwd: Path | None,
    timeout_seconds: float | None,
) -> tuple[int, str, str]:
    _starting.hold()
    try:
        process = _begin(command, output=output, env=env, cwd=cwd, asks=stdin is not None)
    except BaseException:
        _starting.release()
        raise
    with process:  # closes its pipes, whatever happens
        try:
            _starting.release()
            out, err = process.communicate(stdin, timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise DevError(f"`{shown(command)}` took longer than {timeout_seconds:g} s", do="try it by hand") from error
        except BaseException:
            _end(process)
            raise
    return process.returncode, (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace")


def _begin(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | None,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    asks: bool,
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE if asks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DevError(f"`{command[0]}` is not there", do=f"install {Path(command[0]).name}") from error
    except PermissionError as error:
        raise DevError(f"`{command[0]}` may not be run: {error.strerror}", do="look at its permissions") from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program's whole group: it is asked first, then killed; so is who outlives it in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
