"""A Compose project of a test's own: a folder with ``compose.yaml``, a license and ``.env``, as a user has them."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.support.clients import Endpoint, Result, run

from devcluster.docker import Docker

ROOT = Path(__file__).parents[2]
LABEL = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class Project:
    """One project: every command runs in its folder, as ``docker compose COMMAND`` would there."""

    name: str
    folder: Path
    command: Sequence[str]
    docker: Docker
    variables: Mapping[str, str]
    files: Sequence[str] = ("compose.yaml",)

    async def run(self, *arguments: str) -> Result:
        """Run a Compose command, however it ends."""
        files = [part for file in self.files for part in ("--file", file)]
        return await run(*self.command, *files, *arguments, environment=self._environment(), folder=self.folder)

    async def do(self, *arguments: str) -> str:
        """Run a Compose command that has to succeed; its standard output."""
        result = await self.run(*arguments)
        assert result.status == 0, f"compose {' '.join(arguments)}: {result.err[-3000:]}"
        return result.out

    async def containers(self) -> list[dict[str, Any]]:
        """Return what ``compose ps`` says of every container, ended ones too."""
        return [json.loads(line) for line in (await self.do("ps", "--all", "--format", "json")).splitlines()]

    async def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows about a service's container."""
        container = (await self.do("ps", "--all", "--quiet", service)).strip()
        result = await self._docker("inspect", container)
        facts: dict[str, Any] = json.loads(result.out)[0]
        return facts

    async def python(self, service: str, program: str, *arguments: str) -> str:
        """Run a Python program in a service's container; its standard output. The images have no shell to rely on."""
        return await self.do("exec", "-T", service, "python", "-c", program, *arguments)

    async def endpoint(self) -> Endpoint:
        """Return where clients reach the gateway."""
        return Endpoint(f"ws://{(await self.do('port', 'streaming-api', '8080')).strip()}")

    async def left(self) -> dict[str, list[str]]:
        """Return what the engine still has of this project, by kind."""
        found = {}
        for kind, listing in {
            "containers": ("ps", "--all", "--quiet"),
            "networks": ("network", "ls", "--quiet"),
            "volumes": ("volume", "ls", "--quiet"),
        }.items():
            result = await self._docker(*listing, "--filter", f"label={LABEL}={self.name}")
            found[kind] = result.out.split()
        return found

    async def down(self) -> None:
        """Remove the project, at once and whole."""
        await self.do("down", "--volumes", "--timeout", "1")

    async def _docker(self, *arguments: str) -> Result:
        result = await run(self.docker.binary, *arguments, environment={**os.environ, **self.docker.env})
        assert result.status == 0, result.err
        return result

    def _environment(self) -> dict[str, str]:
        # What lies around in the environment would win over the project's own .env.
        given = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        return {**given, **self.docker.env, "COMPOSE_PROJECT_NAME": self.name, **self.variables}


def place(folder: Path, *files: Path) -> None:
    """Put into a folder what a user's folder has: the two files, and others by their own names."""
    for file in (ROOT / "compose.yaml", ROOT / ".env.example", *files):
        shutil.copy(file, folder)


@asynccontextmanager
async def removed_after(project: Project) -> AsyncIterator[Project]:
    """Remove a project whatever happens in the block."""
    try:
        yield project
    finally:
        await project.down()
