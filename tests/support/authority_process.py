"""The real license authority as a process on loopback."""

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support.service import TOKEN, ServiceProcess, call, service, write_credential

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Issued:
    """A new license; ``api_key`` is None where none is needed."""

    license_id: str
    license: str
    api_key: str | None

    def write(self, folder: Path) -> Path:
        """Write the license where ``LICENSE_FILE_PATH`` can point."""
        path = folder / "license.jwt"
        path.write_text(f"{self.license}\n")
        return path


class AuthorityProcess(ServiceProcess):
    """A running license authority; its administrators' credential is ``TOKEN``."""

    @property
    def url(self) -> str:
        return self.addresses["license_authority"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def get(self, path: str, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a GET."""
        return await call(self.url + path, token=token)

    async def post(self, path: str, body: object, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a POST."""
        return await call(self.url + path, token=token, method="POST", body=body)

    async def issue(self, **wish: Any) -> Issued:
        """Issue a license, with usage billing for acme unless told otherwise."""
        wanted = {
            "customer": "acme",
            "billing": "usage",
            "models": ["*"],
            "max_sessions": None,
            "trust_window_seconds": 4 * DAY_SECONDS,
            "valid_seconds": DAY_SECONDS,
            **wish,
        }
        status, body = await self.post("/v1/licenses", wanted)
        assert status == 201, body
        return Issued(body["license_id"], body["license"], body["api_key"])

    async def revoke(self, license_id: str) -> None:
        """Revoke a license."""
        status, body = await self.post(f"/v1/licenses/{license_id}/revoke", {})
        assert status == 200, body

    async def jwks(self) -> bytes:
        """Its public keys: content of ``LICENSE_EXTRA_KEYS_FILE``."""
        status, body = await self.get("/v1/keys", token=None)
        assert status == 200, body
        return json.dumps(body).encode()

    async def sessions(self, customer: str = "acme") -> dict[str, dict[str, Any]]:
        """All sessions of a customer by id, as ``/v1/usage/sessions`` tells them."""
        rows: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            parameters = {"customer": customer, "after": after, "limit": "1000"}
            status, body = await self.get_with("/v1/usage/sessions", parameters)
            assert status == 200, body
            rows |= {row["session_id"]: row for row in body["sessions"]}
            if body["next"] is None:
                return rows
            after = body["next"]

    async def get_with(self, path: str, parameters: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body of an administrator's GET with a query."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(self.url + path, params=parameters, headers=headers) as response,
        ):
            return response.status, await response.json()

    async def import_file(self, journal_id: str, content: bytes, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body of importing an export, which is gzipped here."""
        return await self.import_gzipped(journal_id, gzip.compress(content), token=token)

    async def import_gzipped(self, journal_id: str, body: bytes, *, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body of importing a file as it is."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers["Content-Type"] = "application/gzip"
        timeout = aiohttp.ClientTimeout(total=60)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(f"{self.url}/v1/journals/{journal_id}/import", data=body, headers=headers) as response,
        ):
            return response.status, await response.json()


@asynccontextmanager
async def authority_process(folder: Path, *, port: int = 0, **environment: str) -> AsyncIterator[AuthorityProcess]:
    """Run a license authority; its state is in ``folder``, so that the next one there goes on with it."""
    settings = {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "STATE_DIR": str(folder / "authority"),
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
        **environment,
    }
    Path(settings["STATE_DIR"]).mkdir(exist_ok=True)
    async with service(
        AuthorityProcess, "streamstack_license_authority", folder=folder, environment=settings
    ) as authority:
        await authority.announced()
        yield authority
