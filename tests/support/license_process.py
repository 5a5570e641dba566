"""The real license proxy as a process on loopback."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from streamstack_cli import throwaway_license
from streamstack_common.process import ANNOUNCE_FD

TOKEN = secrets.token_hex(16)


def write_credential(folder: Path, token: str = TOKEN) -> Path:
    path = folder / "credential"
    path.write_text(f"{token}\n")
    return path


@dataclass
class LicenseProcess:
    """A running license proxy; ``url`` is what ``AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT`` wants."""

    process: asyncio.subprocess.Process
    url: str
    log_file: Path
    token: str = TOKEN

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def get(self, path: str, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a GET."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client,
            client.get(self.url + path, headers=headers) as response,
        ):
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def until_state(self, state: str, *, within_seconds: float = 30) -> None:
        """Wait until ``/v1/status`` tells ``state``."""
        async with asyncio.timeout(within_seconds):
            while (await self.get("/v1/status"))[1]["state"] != state:  # noqa: ASYNC110 - another process, no event to wait for
                await asyncio.sleep(0.05)

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 20)

    async def kill(self) -> None:
        """SIGKILL, without a chance to say good-bye."""
        self.process.kill()
        await self.process.wait()

    def log(self) -> str:
        return self.log_file.read_text()


def _read_announcement(descriptor: int) -> dict[str, str] | None:
    """What a service announces; None when it ended without a word."""
    with os.fdopen(descriptor, encoding="utf-8") as pipe:
        line = pipe.readline()
    return json.loads(line) if line else None


@asynccontextmanager
async def license_process(
    folder: Path,
    *,
    license_file: Path | None = None,
    keys_file: Path | None = None,
    port: int = 0,
    **environment: str,
) -> AsyncIterator[LicenseProcess]:
    """Run a license proxy; without ``license_file`` with a throwaway license. Its credential is :data:`TOKEN`."""
    if license_file is None:
        made = throwaway_license.make(folder)
        license_file, keys_file = made.license_file, made.keys_file
    settings = {
        "HTTP_PORT": str(port),
        "HOST": "127.0.0.1",
        "LICENSE_FILE_PATH": str(license_file),
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        **({"LICENSE_EXTRA_KEYS_FILE": str(keys_file)} if keys_file is not None else {}),
        **environment,
    }
    log_file = folder / f"license-proxy-{time.monotonic_ns()}.log"
    reader, writer = os.pipe()
    try:
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "streamstack_license_proxy",
                env={"PATH": os.environ["PATH"], **settings, ANNOUNCE_FD: str(writer)},
                pass_fds=[writer],
                stderr=log,
            )
    finally:
        os.close(writer)
    try:
        announced = await asyncio.to_thread(_read_announcement, reader)
        if announced is None:
            await process.wait()
            raise RuntimeError(f"license proxy exited {process.returncode}: {log_file.read_text()}")
        yield LicenseProcess(process, announced["license_proxy"], log_file)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
