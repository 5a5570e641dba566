"""Child processes that live and die together.

Each child is the leader of a process group of its own: a terminal's Ctrl-C reaches only this process, which then stops
the children in order, and nothing a child started outlives it.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamstack_cli.stack import ProcessSpec
from streamstack_common.process import ANNOUNCE_FD

KEPT_LINES = 10
DRAIN_SECONDS = 1.0
"""How long the output of an ended child is read on: something it started may hold the pipe open."""

MAX_LINE_BYTES = 64 * 1024

Log = Callable[[str, str], None]
"""Takes a child's name and one line of its output, without the line's end."""


class ChildError(Exception):
    """A child ended or never became ready. The message names it, its status and its last lines."""


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: asyncio.subprocess.Process
    announcement: asyncio.Task[bytes]
    ended: asyncio.Task[int]
    output: asyncio.Task[None]
    last_lines: deque[str]
    announced: bool = False

    def last_words(self) -> str:
        return "".join(f"\n  {line}" for line in self.last_lines)


class Supervisor:
    """Starts children, waits until they are ready, notices the first that ends, stops all.

    - ``log`` gets every line a child writes;
    - ``ready_timeout_seconds`` bounds each :meth:`start`;
    - ``grace_seconds`` is what each child has to stop after SIGTERM before it gets SIGKILL.
    """

    def __init__(self, *, log: Log, ready_timeout_seconds: float, grace_seconds: float) -> None:
        self._log = log
        self._ready_timeout_seconds = ready_timeout_seconds
        self._grace_seconds = grace_seconds
        self._children: list[_Child] = []
        self._hurry = asyncio.Event()

    async def start(self, specs: Sequence[ProcessSpec]) -> dict[str, str]:
        """Start all of ``specs`` at once; what they announced, together.

        Raises ChildError when any child, of an earlier start too, ends before these are ready, when one announces
        something else than its spec says, and when the time is over.
        """
        started = [await self._spawn(spec) for spec in specs]
        ready: asyncio.Future[Any] = asyncio.gather(*(self._announced(child) for child in started))
        failed: asyncio.Future[Any] = asyncio.create_task(self.failure())
        try:
            done, _ = await asyncio.wait(
                {ready, failed}, timeout=self._ready_timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if failed in done:
                raise failed.result()
            if ready not in done:
                raise _not_ready([child for child in started if not child.announced], self._ready_timeout_seconds)
            return {name: address for addresses in ready.result() for name, address in addresses.items()}
        finally:
            await _cancel(ready, failed)

    async def failure(self) -> ChildError:
        """Wait for the first child that ends; the error that says so, for the caller to raise."""
        await asyncio.wait([child.ended for child in self._children], return_when=asyncio.FIRST_COMPLETED)
        child = next(child for child in self._children if child.ended.done())
        await asyncio.wait([child.output], timeout=DRAIN_SECONDS)
        moment = "" if child.announced else " before it was ready"
        return ChildError(f"{child.spec.name} ended{moment} {_status(child.ended.result())}{child.last_words()}")

    async def stop(self) -> tuple[str, ...]:
        """Stop every child, the last started first, each after the one before has gone; names of those killed."""
        killed = [child.spec.name for child in reversed(self._children) if not await self._stop(child)]
        self._children.clear()
        return tuple(killed)

    def hurry(self) -> None:
        """Give children no more time: from now on :meth:`stop` kills."""
        self._hurry.set()

    async def _spawn(self, spec: ProcessSpec) -> _Child:
        announcement, announcement_end = await _pipe()
        # Not asyncio's own pipe: with one, wait() also waits for whatever else holds it, such as a child's workers.
        output, output_end = await _pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                env={**spec.environment, ANNOUNCE_FD: str(announcement_end)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=(announcement_end,),
                start_new_session=True,
            )
        except BaseException:
            announcement.close()
            output.close()
            raise
        finally:
            os.close(announcement_end)
            os.close(output_end)
        last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        child = _Child(
            spec=spec,
            process=process,
            announcement=asyncio.create_task(announcement.first_line()),
            ended=asyncio.create_task(process.wait()),
            output=asyncio.create_task(self._relay(spec.name, output, last_lines)),
            last_lines=last_lines,
        )
        self._children.append(child)
        return child

    async def _announced(self, child: _Child) -> dict[str, str]:
        line = await asyncio.shield(child.announcement)
        if not line:
            # Its end of the pipe is closed: it is ending, and the status says more than the pipe.
            await asyncio.shield(child.ended)
            raise await self.failure()
        addresses = _parse_announcement(line)
        if addresses is None or addresses.keys() != child.spec.announces:
            expected = ", ".join(sorted(child.spec.announces))
            raise ChildError(
                f"{child.spec.name} announced {line.rstrip()!r}: expected a JSON object of strings with {expected}"
            )
        child.announced = True
        return addresses

    async def _relay(self, name: str, output: "_Pipe", last_lines: deque[str]) -> None:
        rest = b""
        try:
            while chunk := await output.reader.read(MAX_LINE_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._line(name, line, last_lines)
            if rest:
                self._line(name, rest, last_lines)
        finally:
            output.close()

    def _line(self, name: str, line: bytes, last_lines: deque[str]) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r")
        last_lines.append(text)
        self._log(name, text)

    async def _stop(self, child: _Child) -> bool:
        """Whether the child ended within its grace."""
        _signal(child.process, signal.SIGTERM)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({child.ended, hurry}, timeout=self._grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        in_time = child.ended.done()
        # Also after a good end: what the child started and left behind is in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.ended
        await asyncio.wait([child.output], timeout=DRAIN_SECONDS)
        await _cancel(hurry, child.output, child.announcement)
        return in_time


def _not_ready(children: Sequence[_Child], timeout_seconds: float) -> ChildError:
    names = " and ".join(child.spec.name for child in children)
    return ChildError(
        f"{names} not ready within {timeout_seconds:g} seconds{''.join(child.last_words() for child in children)}"
    )


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"with status {returncode}"
    names = {number.value: number.name for number in signal.Signals}
    return f"by signal {names.get(-returncode, -returncode)}"


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


@dataclass(frozen=True, slots=True)
class _Pipe:
    """The end of a pipe that is read here."""

    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport

    async def first_line(self) -> bytes:
        """Read the first line with its end, empty when the pipe was closed before; closes the pipe."""
        try:
            return await self.reader.readline()
        finally:
            self.close()

    def close(self) -> None:
        self.transport.close()


async def _pipe() -> tuple[_Pipe, int]:
    """Open a pipe: its end here, and the descriptor to write to."""
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    return _Pipe(reader, transport), write_end


def _parse_announcement(line: bytes) -> dict[str, str] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or not all(isinstance(address, str) for address in value.values()):
        return None
    return value


async def _cancel(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
