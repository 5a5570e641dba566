"""A license authority, and a stack under a license of its that bills by usage."""

import base64
import sys
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.support import manifests
from e2e.support.clients import run, sdk
from e2e.support.installed_operator import Operator
from e2e.support.license_authority import CUSTOMER, Authority, forwarded, running
from e2e.support.manifests import STACK
from e2e.support.recordings import scripted
from e2e.support.speaker import ENGLISH
from e2e.support.stack import Stack, eventually, make, own_namespace

from streamstack_cli import exit_codes

PROXIES = 2
PROXY_PORT = 8080


@dataclass
class Billing:
    """The stack, its authority, and the milliseconds of audio that clients know to have been taken.

    ``folder`` is the customer's: the license and the API key as they were issued, files of usage.
    """

    authority: Authority
    stack: Stack
    folder: Path
    spoken_ms: int = field(default=0)

    async def stream(self, *sentences: str) -> None:
        """Stream a recording to its good end, with every word heard."""
        file = scripted(self.folder, *sentences)
        session = await sdk(self.stack.endpoint, file, speech_model=ENGLISH)
        assert session.finals == list(sentences)
        with wave.open(str(file)) as spoken:
            self.spoken_ms += spoken.getnframes() * 1000 // spoken.getframerate()

    async def is_billed(self) -> bool:
        """Tell whether the authority has all of it, and every session's end. AssertionError where it has more."""
        billed = await self.authority.billed()
        assert billed["audio_ms"] <= self.spoken_ms, f"{billed} for {self.spoken_ms} ms"
        return (billed["audio_ms"], billed["open_sessions"]) == (self.spoken_ms, 0)

    async def tells(self, state: str) -> None:
        """Wait until the stack's status tells a state of the license."""

        async def told() -> bool:
            return bool((await self.stack.status())["license"]["state"] == state)

        await eventually(told)

    async def backlog(self) -> int | None:
        """Records that the authority lacks, as the stack's status tells; None while nobody knows."""
        records: int | None = (await self.stack.status())["license"].get("backlogRecords")
        return records

    async def owes_nothing(self) -> None:
        """Wait until no journal holds what the authority lacks."""

        async def empty() -> bool:
            return await self.backlog() == 0

        await eventually(empty)

    async def at_proxy(self, pod: str, *arguments: str | Path) -> None:
        """Run a command of ``streamstack usage`` at one license proxy, through ``kubectl port-forward``."""
        credential = self.folder / "credential"
        if not credential.exists():
            data = (await self.stack.object(f"secret/{self.stack.name}-credential"))["data"]
            credential.write_bytes(base64.b64decode(data["credential"]))
        async with forwarded(self.stack.operator, self.stack.namespace, f"pod/{pod}", PROXY_PORT) as port:
            place = ("--proxy", f"http://localhost:{port}", "--credential-file", credential)
            result = await run(*map(str, (sys.executable, "-m", "streamstack_cli", "usage", *arguments, *place)))
        assert result.status == exit_codes.OK, f"streamstack usage {arguments}: {result}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Authority]:
    """Yield an authority that has issued nothing yet."""
    async with running(operator, tmp_path_factory.mktemp("authority")) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def billing(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Billing]:
    """Yield a stack under a license that the authority issued for it; nothing was said to it yet."""
    folder = tmp_path_factory.mktemp("customer")
    files = {name: folder / name for name in ("license.jwt", "usage-api-key", "extra-keys.json")}
    await authority.streamstack(
        *("license", "issue", "--customer", CUSTOMER, "--billing", "usage", "--max-sessions", "10"),
        *("--out", files["license.jwt"], "--api-key-out", files["usage-api-key"]),
    )
    files["extra-keys.json"].write_bytes(await authority.keys())
    license_ = {
        "replicas": PROXIES,
        "usageApiKeyKey": "usage-api-key",
        "authority": {"caSecretName": f"{STACK}-authority"},
    }
    async with own_namespace(authority.operator) as namespace:
        stack = await make(
            authority.operator,
            folder,
            namespace=namespace,
            changes={"license": license_},
            license_secrets=(
                manifests.secret(namespace, f"{STACK}-license", files),
                manifests.secret(namespace, f"{STACK}-authority", {"ca.crt": authority.tls.authority}),
            ),
        )
        yield Billing(authority, stack, folder)
