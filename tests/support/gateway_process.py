"""The real gateway as a process on loopback."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from streamstack_common.process import ANNOUNCE_FD
from support.edge import SELF_HOSTED
from support.license_process import TOKEN, LicenseProcess, write_credential
from websockets.asyncio.client import connect


@dataclass
class GatewayProcess:
    """A running gateway. ``addresses`` come with its announcement, which waits for the license proxy's first word."""

    process: asyncio.subprocess.Process
    announcement: asyncio.Task[dict[str, str] | None]
    log_file: Path
    token: str = TOKEN
    addresses: dict[str, str] = field(default_factory=dict)

    async def announced(self) -> None:
        async with asyncio.timeout(30):
            addresses = await asyncio.shield(self.announcement)
        if addresses is None:
            raise RuntimeError(f"gateway exited {await self.process.wait()}: {self.log()}")
        self.addresses = addresses

    @property
    def endpoint(self) -> str:
        return self.addresses["gateway"]

    def client(self, target: str = "/v3/ws?sample_rate=16000", **options: Any) -> connect:
        options.setdefault("additional_headers", SELF_HOSTED)
        return connect(self.endpoint + target, **options)

    async def internal(
        self, path: str, *, method: str = "GET", body: object = None, token: str | None = TOKEN
    ) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a call to the internal port."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        url = self.addresses["gateway_internal"] + path
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
            http.request(method, url, headers=headers, json=body) as response,
        ):
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    def log(self) -> str:
        return self.log_file.read_text()


@asynccontextmanager
async def gateway_process(
    folder: Path, *, asr_pools: str, license_proxy: LicenseProcess | str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway; the caller awaits ``announced`` when it expects the gateway to become ready."""
    log_file = folder / "gateway.log"
    reader, writer = os.pipe()
    settings = {
        "HOST": "127.0.0.1",
        "AAI_WSS_PORT": "0",
        "INTERNAL_PORT": "0",
        "ASR_POOLS": asr_pools,
        "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": license_proxy if isinstance(license_proxy, str) else license_proxy.url,
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        "LOGGING_LEVEL": "DEBUG",
        **(environment or {}),
    }
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streamstack_gateway",
            env={"PATH": os.environ["PATH"], **settings, ANNOUNCE_FD: str(writer)},
            pass_fds=[writer],
            stderr=log,
        )
    os.close(writer)
    gateway = GatewayProcess(process, asyncio.create_task(_announcement(reader)), log_file)
    try:
        yield gateway
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await gateway.announcement


async def _announcement(descriptor: int) -> dict[str, str] | None:
    import json

    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    line = await reader.readline()
    transport.close()
    return json.loads(line) if line else None
