"""Projects to test with, each with a name and a folder of its own."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.support.compose import Project, place, removed_after

from devcluster.docker import Docker
from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main

OVERLAY = Path(__file__).parent / "scripted.yaml"

MakeProject = Callable[..., Project]


@pytest.fixture(scope="session")
def make_project(
    engine: Docker, images: Sequence[str], compose: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> MakeProject:
    """Return a maker of projects in folders as ``streamstack trial`` leaves them; nothing is started.

    ``variables`` win over ``.env``. The gateway's port is chosen by the engine.
    """
    del images  # they have to be there

    def make(*overlays: Path, trial: bool = True, **variables: str) -> Project:
        name = f"streamstack-e2e-{secrets.token_hex(4)}"
        folder = tmp_path_factory.mktemp("compose")
        place(folder, *overlays)
        if trial:
            assert main(["trial", "--folder", str(folder), "--days", "1"]) == exit_codes.OK
        return Project(
            name=name,
            folder=folder,
            command=compose,
            docker=engine,
            variables={"AAI_WSS_PORT": "0", **variables},
            files=("compose.yaml", *(overlay.name for overlay in overlays)),
        )

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sphinx(make_project: MakeProject) -> AsyncIterator[Project]:
    """The stack a user gets: ``streamstack trial``, then ``docker compose up --wait``."""
    async with removed_after(make_project()) as project:
        await project.do("up", "--wait")
        yield project
    assert await project.left() == {"containers": [], "networks": [], "volumes": []}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(make_project: MakeProject) -> AsyncIterator[Project]:
    """The same with an engine that reads its words out of the very samples, so that none can be missed by chance.

    A server that stops waits one second for its sessions: a recording does not last until the minute is over.
    """
    async with removed_after(make_project(OVERLAY, ASR_STOP_GRACE_SECONDS="1")) as project:
        await project.do("up", "--wait")
        yield project
