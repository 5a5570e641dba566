"""One program's output, or a file, into the input of several programs at the same time."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from devcluster.commands import shown, tail
from devcluster.errors import DevError

CHUNK_BYTES = 1 << 20

Command = Sequence[str | Path]


def pour(source: Command | Path, sinks: Sequence[Command], *, env: Mapping[str, str], log: Path) -> None:
    """Write what ``source`` holds (a file) or prints (a program) into every sink's standard input.

    The slowest sink sets the pace; nothing is kept on disk. ``env`` is added to this process's environment, the
    programs' messages go into ``log``. Raises :class:`DevError` naming the first program that failed; none is left
    running.
    """
    with ExitStack() as stack, log.open("ab") as messages:
        if isinstance(source, Path):
            reader = None
            content: IO[bytes] = stack.enter_context(source.open("rb"))
        else:
            reader = stack.enter_context(_running(source, env=env, log=messages, stdout=subprocess.PIPE))
            content = _pipe(reader.stdout)
        writers = [stack.enter_context(_running(sink, env=env, log=messages, stdin=subprocess.PIPE)) for sink in sinks]
        unbroken = _copy(content, [_pipe(writer.stdin) for writer in writers])
        # A sink that ended early has its reason in the log; the source would only say that nobody listened.
        started = [(writer, sink) for writer, sink in zip(writers, sinks, strict=True)]
        if reader is not None and not isinstance(source, Path):
            if unbroken:
                started.insert(0, (reader, source))
            else:
                reader.kill()
        for process, command in started:
            if process.wait() != 0:
                raise DevError(
                    f"`{shown(command)}` ended with status {process.returncode}\n{tail(log)}",
                    do=f"read the log ({log})",
                )


def _copy(content: IO[bytes], pipes: Sequence[IO[bytes]]) -> bool:
    """Copy to the end and close the pipes; false when a sink stopped reading before it."""
    unbroken = True
    try:
        while chunk := content.read(CHUNK_BYTES):
            for pipe in pipes:
                pipe.write(chunk)
    except BrokenPipeError:
        unbroken = False
    for pipe in pipes:
        unbroken = _close(pipe) and unbroken
    return unbroken


@contextmanager
def _running(
    command: Command,
    *,
    env: Mapping[str, str],
    log: IO[bytes],
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=stdin,
        stdout=log if stdout is None else stdout,
        stderr=log,
        env={**os.environ, **env},
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)


def _close(pipe: IO[bytes]) -> bool:
    """Close a pipe; false when what was left in the buffer had nobody to read it."""
    try:
        pipe.close()
    except BrokenPipeError:
        return False
    return True


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - asked for with PIPE
    return pipe
