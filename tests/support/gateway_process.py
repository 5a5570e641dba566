"""The real gateway as a process on loopback."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from support.edge import SELF_HOSTED
from support.license_process import LicenseProcess
from support.service import TOKEN, ServiceProcess, call, service, write_credential
from support.waiting import eventually


class GatewayProcess(ServiceProcess):
    """A running gateway. Its announcement waits for the license proxy's first word."""

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
        return await call(self.addresses["gateway_internal"] + path, token=token, method=method, body=body)

    async def until_admission(self, admission: str) -> None:
        """Wait until ``/sessions`` tells ``admission``."""

        async def told() -> bool:
            return bool((await self.internal("/sessions"))[1]["admission"] == admission)

        await eventually(told)

    async def until_logged(self, words: str) -> None:
        """Wait until the log holds these words."""

        async def said() -> bool:
            return words in self.log

        await eventually(said)

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, as they are written."""
        _, text = await self.internal("/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def until_metric(self, name: str, value: float) -> None:
        """Wait until a metric of the gateway, without its prefix, has this value."""

        async def told() -> bool:
            return (await self.metrics()).get(f"streamstack_gateway_{name}") == value

        await eventually(told)


@asynccontextmanager
async def gateway_process(
    folder: Path,
    *,
    asr_pools: str,
    license_proxy: LicenseProcess | str,
    environment: Mapping[str, str] | None = None,
    hosts_file: Path | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway; the caller awaits ``announced`` when it expects the gateway to become ready.

    ``hosts_file`` is what it finds in the place of /etc/hosts (``support.own_hosts``).
    """
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
    command = ["streamstack_gateway"]
    if hosts_file is not None:
        command = ["support.own_hosts", str(hosts_file), *command]
        settings["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    async with service(GatewayProcess, *command, folder=folder, environment=settings) as gateway:
        yield gateway
