"""A service as a real process: started as a pod would, on ports of the kernel's choice, and gone when a test ends."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from streamstack_common.process import ANNOUNCE_FD
from support import faked_clock

START_SECONDS = 60.0
STOP_SECONDS = 30.0
"""Far beyond what a loaded machine needs; only a failing test waits this long."""

TOKEN = secrets.token_hex(16)


def write_credential(folder: Path, token: str = TOKEN) -> Path:
    """Write the stack's credential, the same for every service of a test unless told otherwise."""
    path = folder / "credential"
    path.write_text(f"{token}\n")
    return path


@dataclass
class ServiceProcess:
    """A running service; ``addresses`` are what it announced, empty before ``announced`` was awaited."""

    process: asyncio.subprocess.Process
    announcement: asyncio.Task[dict[str, str]]
    log_file: Path
    credential_file: Path
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return self.credential_file.read_text().split()[0]

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    async def announced(self) -> None:
        """Wait until the service is ready. Raises RuntimeError with its log when it ends instead."""
        async with asyncio.timeout(START_SECONDS):
            self.addresses = await asyncio.shield(self.announcement)
        if not self.addresses:
            raise RuntimeError(f"{self.log_file.stem} exited {await self.wait()}: {self.log}")

    def terminate(self) -> None:
        """SIGTERM."""
        if self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL, without a chance to say good-bye."""
        if self.process.returncode is None:
            self.process.kill()

    async def wait(self) -> int:
        """Wait for the end; the exit status."""
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM and its result, the exit status."""
        self.terminate()
        return await self.wait()


Process = TypeVar("Process", bound=ServiceProcess)


@asynccontextmanager
async def service(
    kind: type[Process], module: str, *arguments: str, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Process]:
    """Run ``python -m MODULE`` with this environment and nothing of the test's own but the path.

    ``folder`` takes the log; ``environment`` names the credential file. What still runs at the end is killed.
    """
    log_file = folder / f"{module}-{secrets.token_hex(4)}.log"
    reader, writer = os.pipe()
    announcement = asyncio.create_task(_announcement(reader))
    try:
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments),
                env={"PATH": os.environ["PATH"], **environment, ANNOUNCE_FD: str(writer)},
                pass_fds=[writer],
                stdout=log,
                stderr=log,
            )
    finally:
        os.close(writer)
    try:
        yield kind(process, announcement, log_file, Path(environment["STREAMSTACK_CREDENTIAL_FILE"]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        faked_clock.forget(process.pid)
        await announcement


async def _announcement(descriptor: int) -> dict[str, str]:
    """What the service announces; nothing when it ends without a word."""
    stream = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    try:
        line = await stream.readline()
    finally:
        transport.close()
    addresses: dict[str, str] = json.loads(line) if line else {}
    return addresses


async def call(url: str, *, token: str | None, method: str = "GET", body: object = None) -> tuple[int, Any]:
    """Status and body (parsed where it is JSON) of a call to an internal port; no credential without ``token``."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
        http.request(method, url, headers=headers, json=body) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())
