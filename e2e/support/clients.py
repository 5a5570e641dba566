"""Real clients as processes of their own: the AssemblyAI SDK and ``streamstack transcribe``."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
SESSION_SECONDS = 300.0
"""Far beyond a recording and its last words on a loaded machine; only a failing test waits this long."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients connect: ``url``, names that resolve to addresses for them alone, and the authority they trust."""

    url: str
    hosts: Mapping[str, str] = field(default_factory=dict)
    authority: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment of a client."""
        environment = {**os.environ, "NO_PROXY": "*"}
        if self.hosts:
            environment["PYTHONPATH"] = str(SUPPORT / "hosts")
            environment["E2E_HOSTS"] = ",".join(f"{name}={address}" for name, address in self.hosts.items())
        if self.authority is not None:
            environment |= {"SSL_CERT_FILE": str(self.authority), "SSL_CERT_DIR": "/nonexistent"}
        return environment


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Session:
    """One SDK session; ``events`` grows while it runs."""

    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def turns(self) -> list[dict[str, Any]]:
        """Turn messages in the order they came."""
        return [event for event in self.events if event["kind"] == "Turn"]

    @property
    def finals(self) -> list[str]:
        """Transcripts of finished turns."""
        return [turn["transcript"] for turn in self.turns if turn["end"]]

    @property
    def words(self) -> list[str]:
        """All final words."""
        return " ".join(self.finals).split()

    @property
    def heard(self) -> list[str]:
        """Words that were shown so far, final or not."""
        last = {turn["order"]: turn["transcript"] for turn in self.turns}
        return " ".join(last.values()).split()

    @property
    def over(self) -> bool:
        """Whether the program has ended or closed its output."""
        return self._reading.done()

    async def until(self, reached: Callable[["Session"], object]) -> None:
        """Wait for events that add up to ``reached``; AssertionError when the session ends without them."""
        async with asyncio.timeout(SESSION_SECONDS), self._news:
            await self._news.wait_for(lambda: reached(self) or self._reading.done())
        assert reached(self), f"the session ended with {self.events[-3:]}"

    async def finished(self) -> None:
        """Wait for the end, which has to be a good one, and check the protocol's own rules."""
        async with asyncio.timeout(SESSION_SECONDS):
            await self._reading
            status = await self.process.wait()
        assert status == 0, f"the client ended with status {status}: {self.events[-5:]}"
        kinds = [event["kind"] for event in self.events]
        assert kinds[0] == "Begin"
        assert kinds[-1] == "Termination"
        assert [kinds.count(kind) for kind in ("Begin", "Termination", "Error")] == [1, 1, 0]
        ends = [turn["order"] for turn in self.turns if turn["end"]]
        assert ends == list(range(len(ends))), "a turn ended twice, out of order or not at all"

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def sdk_session(endpoint: Endpoint, recording: Path, *, speech_model: str) -> AsyncIterator[Session]:
    """Stream a recording with the AssemblyAI SDK; on leaving, a session that still runs is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SUPPORT / "sdk_client.py"), str(recording), endpoint.url, speech_model,
        env=endpoint.environment(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    session = Session(process)
    try:
        yield session
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await session._reading


async def sdk(endpoint: Endpoint, recording: Path, *, speech_model: str) -> Session:
    """Stream a recording with the AssemblyAI SDK to its good end."""
    async with sdk_session(endpoint, recording, speech_model=speech_model) as session:
        await session.finished()
        return session


async def transcribe(endpoint: Endpoint, recording: Path, *more: str) -> Result:
    """Run ``streamstack transcribe``."""
    return await run(
        sys.executable, "-m", "streamstack_cli", "transcribe", str(recording), "--endpoint", endpoint.url, *more,
        environment=endpoint.environment(),
    )  # fmt: skip


async def run(*command: str, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Result:
    """Run a program to its end, whatever that is; one that takes longer than a session is killed."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1
    )
    try:
        async with asyncio.timeout(SESSION_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
