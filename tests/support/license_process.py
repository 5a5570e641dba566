"""The real license proxy as a process on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamstack_cli import throwaway_license
from support.authority_process import AuthorityProcess, Issued
from support.service import TOKEN, ServiceProcess, call, service, write_credential
from support.waiting import eventually

OFTEN = "0.2"
"""``CHECKIN_INTERVAL_SECONDS`` of tests."""


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

    async def status(self) -> dict[str, Any]:
        """What ``/v1/status`` tells."""
        body: dict[str, Any] = (await self.get("/v1/status"))[1]
        return body

    async def metric(self, name: str, **labels: str) -> float:
        """One sample of ``/metrics``, which has to be there once."""
        status, text = await self.get("/metrics")
        assert status == 200
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        (value,) = [sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)]
        return value

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
    """Run a license proxy; without ``license_file`` with a throwaway license. Its credential is ``TOKEN``.

    What outlives it is in a folder of ``folder``, unless STATE_DIR says where; an empty one is none.
    """
    if license_file is None:
        made = throwaway_license.make(folder)
        license_file, keys_file = made.license_file, made.keys_file
    state_dir = folder / "license-state"
    state_dir.mkdir(exist_ok=True)
    settings = {
        "STATE_DIR": str(state_dir),
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


@asynccontextmanager
async def proxy_of(
    folder: Path, authority: AuthorityProcess, issued: Issued, **environment: str
) -> AsyncIterator[LicenseProcess]:
    """Run a license proxy with a license of this authority, which may be gone by now where it was asked before."""
    keys_file = folder / "keys.json"
    if not keys_file.exists():
        keys_file.write_bytes(await authority.jwks())
    key = {"USAGE_TRACKING_API_KEY": issued.api_key} if issued.api_key is not None else {}
    settings = {"CHECKIN_INTERVAL_SECONDS": OFTEN, **key, **environment}
    license_file = issued.write(folder)
    async with license_process(folder, license_file=license_file, keys_file=keys_file, **settings) as proxy:
        yield proxy
