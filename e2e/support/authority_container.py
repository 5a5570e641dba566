"""A license authority as a container beside a Compose project: where its license proxy finds it, over TLS."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from e2e.support.certificates import Certified, certified
from e2e.support.clients import run
from e2e.support.compose import Project

from devcluster import product_images
from devcluster.docker import rows
from streamstack_cli import exit_codes
from streamstack_cli.http_api import Target, Trust, UnreachableError, connected

NAME = "license-authority"
PORT = 8443
NETWORK = "authority"
CUSTOMER = "acme"
START_SECONDS = 60.0
ASK_AGAIN_SECONDS = 0.2
READABLE = 0o755
"""By the image's user, who is not the one who runs the test."""


@dataclass(frozen=True, slots=True)
class AuthorityContainer:
    """A container that was started once; it may be stopped and started again."""

    project: Project
    folder: Path
    tls: Certified
    container_id: str

    async def url(self) -> str:
        """Return where it is reached from this machine: the port changes with every start."""
        [address] = set(rows(await self.docker("port", self.container_id, f"{PORT}/tcp")))
        return f"https://localhost:{address.rpartition(':')[2]}"

    async def docker(self, *arguments: str) -> str:
        """Run a docker command; its standard output."""
        return await asyncio.to_thread(self.project.docker.capture, *arguments)

    async def stop(self) -> None:
        """Be away; the ledger stays."""
        await self.docker("stop", self.container_id)

    async def start(self) -> None:
        """Be there again, once it answers."""
        await self.docker("start", self.container_id)
        await self.keys()

    async def streamstack(self, *arguments: str | Path) -> str:
        """Run a command of ``streamstack`` that has to succeed here; its standard output."""
        place = ("--authority", await self.url(), "--ca-file", self.tls.authority)
        command = (sys.executable, "-m", "streamstack_cli", *arguments, *place)
        result = await run(*map(str, (*command, "--credential-file", self.folder / "credential")))
        assert result.status == exit_codes.OK, f"streamstack {arguments}: {result}"
        return result.out

    async def billed(self) -> dict[str, Any]:
        """Return the customer's sums of yesterday to tomorrow."""
        today = datetime.now(UTC).date()
        period = ("--from", str(today - timedelta(days=1)), "--to", str(today + timedelta(days=1)))
        total: dict[str, Any] = json.loads(await self.streamstack("usage", "report", "--json", *period))["total"]
        return total

    async def keys(self) -> bytes:
        """Return its public keys, as soon as it answers: a container announces nothing."""
        async with (
            asyncio.timeout(START_SECONDS),
            connected(Target(await self.url(), trust=Trust(ca_file=self.tls.authority))) as api,
        ):
            while True:
                try:
                    return (await api.get("/v1/keys")).good()
                except UnreachableError:
                    await asyncio.sleep(ASK_AGAIN_SECONDS)


@asynccontextmanager
async def beside(project: Project, folder: Path) -> AsyncIterator[AuthorityContainer]:
    """Run an authority on the project's network for it, which is there already."""
    tls = certified(folder, NAME, "localhost")
    (folder / "credential").write_text(f"{secrets.token_urlsafe(32)}\n")
    for path in (folder, *folder.iterdir()):
        path.chmod(READABLE)
    variables = {
        "PORT": str(PORT),
        "PUBLIC_URL": f"https://{NAME}:{PORT}",
        "STREAMSTACK_CREDENTIAL_FILE": "/run/admin/credential",
        "TLS_CERTIFICATE_FILE": "/run/admin/server.crt",
        "TLS_KEY_FILE": "/run/admin/server.key",
    }
    started = await asyncio.to_thread(
        project.docker.capture,
        *("run", "--detach", "--read-only", "--network", f"{project.name}_{NETWORK}", "--network-alias", NAME),
        *("--publish", f"127.0.0.1::{PORT}", "--volume", f"{folder}:/run/admin:ro"),
        *("--mount", "type=volume,target=/var/lib/streamstack"),
        *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
        product_images.reference(NAME),
    )
    container = AuthorityContainer(project, folder, tls, started.strip())
    try:
        await container.keys()
        yield container
    finally:
        await container.docker("rm", "--force", "--volumes", container.container_id)
