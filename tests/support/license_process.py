"""The real license proxy as a process on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamstack_cli import throwaway_license
from support.service import TOKEN, ServiceProcess, call, service, write_credential
from support.waiting import eventually


class LicenseProcess(ServiceProcess):
    """A running license proxy; ``url`` is what ``AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT`` wants."""

    @property
    def url(self) -> str:
        return self.addresses["license_proxy"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def get(self, path: str, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a GET."""
        return await call(self.url + path, token=token)

    async def until_state(self, state: str) -> None:
        """Wait until ``/v1/status`` tells ``state``."""

        async def told() -> bool:
            return bool((await self.get("/v1/status"))[1]["state"] == state)

        await eventually(told)


@asynccontextmanager
async def license_process(
    folder: Path,
    *,
    license_file: Path | None = None,
    keys_file: Path | None = None,
    port: int = 0,
    **environment: str,
) -> AsyncIterator[LicenseProcess]:
    """Run a license proxy; without ``license_file`` with a throwaway license. Its credential is ``TOKEN``."""
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
    async with service(LicenseProcess, "streamstack_license_proxy", folder=folder, environment=settings) as proxy:
        await proxy.announced()
        yield proxy
