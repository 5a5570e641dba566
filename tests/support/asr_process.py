"""A real ASR server as a process of its own, on ports of the kernel's choice."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from streamstack_common.process import ANNOUNCE_FD

START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(slots=True)
class AsrProcess:
    """A warm server: ``asr`` is ``host:port``, ``internal`` an ``http://`` address."""

    process: asyncio.subprocess.Process
    asr: str
    internal: str
    token: str
    credential_file: Path
    log_file: Path

    @property
    def authorization(self) -> str:
        return f"Bearer {self.token}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.authorization),)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def terminate(self) -> None:
        """SIGTERM."""
        if self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.returncode is None:
            self.process.kill()

    async def wait(self) -> int:
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()


def write_credential(folder: Path) -> tuple[Path, str]:
    """A fresh credential file and its token."""
    token = secrets.token_hex(16)
    path = folder / f"credential-{secrets.token_hex(4)}"
    path.write_text(token + "\n")
    return path, token


@asynccontextmanager
async def asr_process(
    folder: Path,
    *,
    engine: str = "scripted",
    models: str = "en-default",
    slots: int = 32,
    port: int = 0,
    stop_grace_seconds: float = 10.0,
    flags: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    credential_file: Path | None = None,
) -> AsyncIterator[AsrProcess]:
    """Start ``python -m streamstack_asr``, wait until it is warm, and stop it with SIGTERM at the end.

    ``folder`` takes the log and, unless ``credential_file`` is given, the credential (use pytest's ``tmp_path``).
    """
    if credential_file is None:
        credential_file, token = write_credential(folder)
    else:
        token = credential_file.read_text().split()[0]
    log_file = folder / f"asr-{secrets.token_hex(4)}.log"
    reader, writer = os.pipe()
    command = [
        *(sys.executable, "-m", "streamstack_asr", "--host", "127.0.0.1", "--server-port", str(port)),
        *("--internal-port", "0", "--engine", engine, "--models", models, "--max-open-streams", str(slots)),
        *("--stop-grace-seconds", str(stop_grace_seconds), "--credential-file", str(credential_file), *flags),
    ]
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {}), ANNOUNCE_FD: str(writer)},
            pass_fds=(writer,),
        )
    os.close(writer)
    try:
        announced = await _read_announcement(reader)
        if not announced:
            await process.wait()
            raise AssertionError(f"the ASR server did not start:\n{log_file.read_text()}")
        addresses = json.loads(announced)
        server = AsrProcess(process, addresses["asr"], addresses["internal"], token, credential_file, log_file)
        yield server
        server.terminate()
        await server.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _read_announcement(descriptor: int) -> bytes:
    """One line from the pipe; empty when the process ended without one."""
    stream = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(stream)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        async with asyncio.timeout(START_SECONDS):
            return await stream.readline()
    finally:
        transport.close()
