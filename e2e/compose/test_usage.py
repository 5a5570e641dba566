"""Usage billing with Compose, with an authority and without a network: docs/compose.md, docs/command-line.md."""

import asyncio
import json
import sys
import wave
from pathlib import Path

import pytest
from e2e.compose.conftest import OVERLAY, MakeProject
from e2e.support.authority_container import CUSTOMER, AuthorityContainer, beside
from e2e.support.clients import run, sdk
from e2e.support.compose import Project, removed_after
from e2e.support.neighbour import ASK
from e2e.support.recordings import scripted
from e2e.support.speaker import ENGLISH, SENTENCES
from e2e.support.stack import eventually

from streamstack_cli import exit_codes
from support.authority_process import AuthorityProcess, authority_process

READABLE = 0o644
PROXY = "license-and-usage-proxy"
FIND = f"import socket; print(socket.gethostbyname('{PROXY}'))"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return scripted(tmp_path, *SENTENCES[:2])


def length_ms(recording: Path) -> int:
    with wave.open(str(recording)) as spoken:
        return spoken.getnframes() * 1000 // spoken.getframerate()


def put(project: Project, **files: bytes) -> None:
    """Write a license and its keys in the place of the trial's, for the container's user to read."""
    for name, content in files.items():
        path = project.folder / {"license": "license.jwt", "keys": "license-keys.json"}[name]
        path.write_bytes(content)
        path.chmod(READABLE)


async def usage(*arguments: str | Path) -> None:
    """Run a command of ``streamstack usage`` that has to succeed."""
    result = await run(*map(str, (sys.executable, "-m", "streamstack_cli", "usage", *arguments)))
    assert result.status == exit_codes.OK, f"{arguments}: {result}"


async def billed(authority: AuthorityProcess) -> int:
    """Milliseconds of the customer's sessions in the ledger."""
    return sum(row["audio_ms"] for row in (await authority.sessions("airgap")).values())


async def test_billed_once_usage_that_outlived_a_restart_is_carried_to_the_authority(
    make_project: MakeProject, recording: Path, tmp_path: Path
) -> None:
    file = tmp_path / "usage.jsonl.gz"
    async with authority_process(tmp_path) as authority, removed_after(make_project(OVERLAY)) as project:
        issued = await authority.issue(customer="airgap", offline=True)
        put(project, license=issued.license.encode(), keys=await authority.jwks())
        await project.do("up", "--wait")
        for _ in range(2):
            await sdk(await project.endpoint(), recording, speech_model=ENGLISH)
        # A gateway that has stopped has reported everything.
        await project.do("stop", "streaming-api")
        await project.do("restart", PROXY)
        await project.do("up", "--wait", PROXY)

        credential = tmp_path / "stack-credential"
        await project.do("cp", f"{PROXY}:/run/streamstack/credential", str(credential))
        address = (await project.python(PROXY, FIND)).strip()
        proxy = ("--proxy", f"http://{address}:8080", "--allow-http", "--credential-file", credential)
        await usage("export", *proxy, "--out", file)
        assert await billed(authority) == 0
        place = ("--authority", authority.url, "--credential-file", authority.credential_file)
        for _ in range(2):
            await usage("import", file, *place)
            assert await billed(authority) == 2 * length_ms(recording)
        await usage("receipt", f"{file}.receipt", *proxy)


async def test_billed_once_with_an_authority_that_is_away_at_the_start_and_later(
    make_project: MakeProject, recording: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files, customer = tmp_path_factory.mktemp("authority"), tmp_path_factory.mktemp("customer")
    project = make_project(OVERLAY, LICENSE_AUTHORITY_CA_FILE=str(files / "ca.crt"))
    (files / "ca.crt").touch()
    async with removed_after(project):
        await project.do("up", "--no-start")
        async with beside(project, files) as authority:
            await licensed(project, authority, customer)
            await authority.stop()
            starting = asyncio.create_task(project.run("up", "--wait"))
            await eventually(lambda: says(project, "billing by usage starts with a check-in"))
            await authority.start()
            # Compose gives up waiting where the authority was away for longer than a container may be unhealthy.
            await starting
            await eventually(lambda: is_up(project))

            await sdk(await project.endpoint(), recording, speech_model=ENGLISH)
            await eventually(lambda: is_billed(authority, length_ms(recording)))
            await authority.stop()
            await sdk(await project.endpoint(), recording, speech_model=ENGLISH)
            assert await state(project) in {"Connected", "TrustBased"}
            await authority.start()
            await eventually(lambda: is_billed(authority, 2 * length_ms(recording)))


async def licensed(project: Project, authority: AuthorityContainer, folder: Path) -> None:
    """Have a license issued for the project, and write it down as a person does."""
    await authority.streamstack(
        *("license", "issue", "--customer", CUSTOMER, "--billing", "usage"),
        *("--out", folder / "license.jwt", "--api-key-out", folder / "api-key"),
    )
    put(project, license=(folder / "license.jwt").read_bytes(), keys=await authority.keys())
    settings = (project.folder / ".env").read_text()
    api_key = (folder / "api-key").read_text().strip()
    (project.folder / ".env").write_text(f"{settings}\nUSAGE_TRACKING_API_KEY={api_key}\n")


async def says(project: Project, words: str) -> bool:
    """Whether the license proxy has logged something."""
    return words in await project.do("logs", "--no-color", PROXY)


async def is_up(project: Project) -> bool:
    """Whether everything runs, after another attempt to have it so."""
    return (await project.run("up", "--wait")).status == 0


async def is_billed(authority: AuthorityContainer, audio_ms: int) -> bool:
    """Whether the authority has so much, and no more. AssertionError where it has more."""
    told = await authority.billed()
    assert told["audio_ms"] <= audio_ms
    return bool(told["audio_ms"] == audio_ms and told["open_sessions"] == 0)


async def state(project: Project) -> str:
    """Return the state of the license, as a neighbour of the proxy's is told it."""
    answer = json.loads(await project.python(PROXY, ASK, "http://localhost:8080/v1/status", "with-credential"))
    return str(json.loads(answer["body"])["state"])
