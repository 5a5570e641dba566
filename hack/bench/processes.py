"""Processes of a run: started on a core, ready when they say so, stopped by their own pid whatever happens."""

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import machine

from streamstack_cli import stack, throwaway_license
from streamstack_common.process import ANNOUNCE_FD

HERE: Final = Path(__file__).resolve().parent
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 3.0
SPARE_SLOTS: Final = 2_000
"""Beyond the sessions of a run: slots are given back a moment after a session's end."""


class ChildError(RuntimeError):
    """A process of the run ended or did not become ready; the message holds its last lines."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process. ``announced`` is what it said when it was ready."""

    name: str
    process: subprocess.Popen[bytes]
    announced: Mapping[str, str]
    log_file: Path
    pid: int
    """Whose CPU and memory count."""

    def check(self) -> None:
        """Raise ChildError when it has ended."""
        if self.process.poll() is not None:
            raise ChildError(f"{self.name} ended with status {self.process.returncode}\n{last_lines(self.log_file)}")


def last_lines(log_file: Path) -> str:
    """Return the end of a process's output."""
    return "".join(f"  {line}\n" for line in log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """Return ``command`` bound to one core, and ended with this process even if that is killed."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder for credentials, licenses and logs of one run."""
    with tempfile.TemporaryDirectory(prefix="streamstack-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def announcing(
    name: str, command: Sequence[str], *, core: int, logs: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run a service and wait for its announcement (``streamstack_common.process.announce``)."""
    reader, writer = os.pipe()
    log_file = logs / f"{name}-{secrets.token_hex(3)}.log"
    try:
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                on_core(core, command),
                env={**(os.environ if environment is None else environment), ANNOUNCE_FD: str(writer)},
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        line = _first_line(reader)
        if not line:
            raise ChildError(f"{name} was not ready within {READY_SECONDS:g} s\n{last_lines(log_file)}")
        # `taskset` becomes what it starts.
        yield Child(name, process, json.loads(line), log_file, process.pid)
    finally:
        os.close(reader)
        stop(process)


def _first_line(descriptor: int) -> bytes:
    line = b""
    deadline = time.monotonic() + READY_SECONDS
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(descriptor, 4096) if ready else b""
        if not piece:
            return b""
        line += piece
    return line


def stop(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, then SIGKILL; returns when the process is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def script(name: str, *arguments: str) -> list[str]:
    """Return the command for a script of this folder."""
    return [sys.executable, str(HERE / name), *arguments]


@dataclass(slots=True)
class Generator:
    """The generator as a process: commands on its input, events on its output, one JSON object a line."""

    process: subprocess.Popen[str]
    log_file: Path
    report: dict[str, Any] = field(default_factory=dict)

    def until(self, event: str) -> dict[str, Any]:
        """Wait for an event. Raises ChildError when another comes, or none: the generator bounds its own time."""
        assert self.process.stdout is not None  # noqa: S101 - opened with a pipe below
        line = self.process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {"event": "end of output"}
        if message["event"] != event:
            raise ChildError(f"generator: expected {event!r}, got {message}\n{last_lines(self.log_file)}")
        return message

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None  # noqa: S101 - opened with a pipe below
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def generator(*arguments: str, logs: Path) -> Iterator[Generator]:
    """Run the generator on the load core."""
    log_file = logs / f"generator-{secrets.token_hex(3)}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            on_core(machine.LOAD_CORE, script("generator.py", *arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield Generator(process, log_file)
    finally:
        stop(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def gateway(sessions: int, *, logs: Path) -> Iterator[Child]:
    """Run a gateway on the served core; its license proxy and an ASR server with engine ``null`` on the load core."""
    state = logs / f"state-{secrets.token_hex(3)}"
    state.mkdir()
    credential, token_key = state / "credential", state / "token-key"
    for secret_file in (credential, token_key):
        secret_file.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
    made = throwaway_license.make(state)
    run = stack.RunFolder(
        credential_file=credential,
        token_key_file=token_key,
        license_file=made.license_file,
        keys_file=made.keys_file,
        state_dir=state,
    )
    room = sessions + SPARE_SLOTS
    options = stack.StackOptions(engine="null", slots=room, capacity=room, max_sessions=room, stop_grace_seconds=0)
    with contextlib.ExitStack() as running:
        announced: dict[str, str] = {}
        for describe in (stack.license_proxy, stack.asr):
            spec = describe(options, run, os.environ)
            announced.update(running.enter_context(service(spec, core=machine.LOAD_CORE, logs=logs)).announced)
        spec = stack.gateway(options, run, os.environ, announced)
        yield running.enter_context(service(spec, core=machine.SERVED_CORE, logs=logs))


def service(spec: stack.ProcessSpec, *, core: int, logs: Path) -> contextlib.AbstractContextManager[Child]:
    """Run one of the product's services as ``streamstack up`` would."""
    return announcing(spec.name, spec.command, core=core, logs=logs, environment=spec.environment)
