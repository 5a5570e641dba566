"""Everything a chaos run runs: pieces, the lines between them, disks, and the way back to a healthy stack."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamstack_common.usage import BACKLOG_PATH
from support.authority_process import AuthorityProcess
from support.chaos_books import Books
from support.chaos_clients import Caller
from support.chaos_judge import Bill, Facts
from support.chaos_pieces import Disk, Piece, disk
from support.faults import Cast
from support.relay import Relay, relay
from support.service import ServiceProcess, call, write_credential

LEDGER = "ledger.sqlite3"
JOURNAL = "usage.sqlite3"
SETTLE_SECONDS = 120.0
"""Only a failing run waits this long for a backlog to run empty."""
ASK_AGAIN_SECONDS = 0.1
START_SECONDS = 60.0
CUSTOMER = "acme"
UNSENT = "streamstack_gateway_usage_unsent_reports"


def _unsent(metrics: str) -> int:
    line = next(line for line in metrics.splitlines() if line.startswith(f"{UNSENT} "))
    return int(float(line.split()[-1]))


def _backlog(body: dict[str, int]) -> int:
    return body["records"]


@dataclass
class Stack:
    """What runs. Names are those of the cast; a line's is ``from>to``."""

    cast: Cast
    folder: Path
    credential: Path
    pieces: dict[str, Piece]
    lines: dict[str, Relay]
    disks: dict[str, Disk]
    books: Books

    @property
    def token(self) -> str:
        return self.credential.read_text().split()[0]

    @property
    def gateways(self) -> Sequence[Piece]:
        return [self.pieces[name] for name in self.cast.gateways]

    async def settle(self) -> None:
        """Wait until everything that gateways and proxies have is in the ledger."""
        owed = ["nobody was asked"]
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while owed := await self._owed():  # noqa: ASYNC110 - they announce it to nobody
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
        except TimeoutError:
            raise AssertionError(f"it never came to the ledger: {'; '.join(owed)}") from None

    async def _owed(self) -> list[str]:
        """Who still has something, or does not say."""
        asked: list[tuple[str, str, str, Callable[[Any], int]]] = [
            (name, "gateway_internal", "/metrics", _unsent) for name in self.cast.gateways
        ]
        asked += [(name, "license_proxy", BACKLOG_PATH, _backlog) for name in self.cast.proxies]
        owed = []
        for name, address, path, counted in asked:
            process = self.pieces[name].process
            assert process is not None, f"{name} does not run"
            status, body = await call(process.addresses[address] + path, token=self.token)
            if status != 200:
                owed.append(f"{name}: {status} {body}")
            elif count := counted(body):
                owed.append(f"{name}: {count} reports")
        return owed

    async def facts(self, callers: Sequence[Caller], *, interval_seconds: float, slack_seconds: float) -> Facts:
        """Gather what the judge wants, and stop what has a file that is read."""
        billed = await self._billed()
        for name in (*self.cast.proxies, self.cast.authority):
            process = self.pieces[name].process
            assert process is not None
            await process.stop()
        books = self.books
        return Facts(
            sessions=tuple(session for caller in callers if (session := caller.told()) is not None),
            reported=frozenset(books.reported),
            acknowledged=dict(books.acknowledged),
            rejected=dict(books.rejected),
            recorded=frozenset(books.recorded),
            billed=billed,
            license_refusals=tuple(refusal for caller in callers for refusal in caller.license_refusals),
            broken_chains=books.broken_chains(
                [self.disks[name].folder / JOURNAL for name in self.cast.proxies],
                self.disks[self.cast.authority].folder / LEDGER,
            ),
            interval_seconds=interval_seconds,
            slack_seconds=slack_seconds,
        )

    def replays(self) -> int:
        """How often a session went on with another speech-recognition server, as gateways log it."""
        return sum(log.read_text().count(": lost its server:") for it in self.gateways for log in it.logs)

    async def _billed(self) -> dict[str, Bill]:
        """Of every session, by the authority's own word."""
        authority = self.pieces[self.cast.authority].process
        assert isinstance(authority, AuthorityProcess)
        rows = await authority.sessions(CUSTOMER)
        return {name: Bill(row["audio_ms"], row["outcome"], row["closed_by"]) for name, row in rows.items()}


@dataclass
class _Builder:
    """Puts a stack together; everything it starts ends with ``until``."""

    folder: Path
    cast: Cast
    modules: Mapping[str, str]
    interval_seconds: float
    until: AsyncExitStack

    async def build(self) -> Stack:
        credential = write_credential(self.folder)
        it = Stack(self.cast, self.folder, credential, pieces={}, lines={}, disks={}, books=Books())
        await self._lines(it)
        await self._authority(it)
        await asyncio.gather(*(self._recognizer(it, name) for name in self.cast.recognizers))
        await asyncio.gather(*(self._proxy(it, name) for name in self.cast.proxies))
        await asyncio.gather(*(self._gateway(it, name) for name in self.cast.gateways))
        return it

    async def _lines(self, it: Stack) -> None:
        books = it.books
        for name in self.cast.reporting_lines:
            line = relay(asked=books.asked_of_proxy, answered=books.answered_by_proxy)
            it.lines[name] = await self.until.enter_async_context(line)
        for name in self.cast.uploading_lines:
            it.lines[name] = await self.until.enter_async_context(relay(asked=books.asked_of_authority))

    async def _authority(self, it: Stack) -> None:
        name = self.cast.authority
        it.disks[name] = await self.until.enter_async_context(disk(self.folder / name))
        environment = {"PORT": "0", "HOST": "127.0.0.1", "STATE_DIR": str(it.disks[name].folder)}
        # Orphans are closed all the time, and heard of again: an outage is longer than that.
        environment |= {"PUBLIC_URL": "https://authority.invalid", "ORPHAN_AFTER_SECONDS": "4"}
        piece = await self._start(it, name, "streamstack_license_authority", environment, kind=AuthorityProcess)
        assert isinstance(piece.process, AuthorityProcess)
        issued = await piece.process.issue(customer=CUSTOMER)
        self._license = issued.write(self.folder)
        self._api_key = issued.api_key or ""
        self._keys = self.folder / "keys.jwks.json"
        self._keys.write_bytes(await piece.process.jwks())

    async def _recognizer(self, it: Stack, name: str) -> None:
        arguments: tuple[str, ...] = (
            "--host",
            "127.0.0.1",
            "--internal-port",
            "0",
            "--engine",
            "null",
            "--models",
            "en-default",
        )
        arguments += ("--max-open-streams", "200", "--server-port", str(free_port()))
        await self._start(it, name, "streamstack_asr", {}, arguments=arguments)

    async def _proxy(self, it: Stack, name: str) -> None:
        it.disks[name] = await self.until.enter_async_context(disk(self.folder / name))
        environment = {
            "HTTP_PORT": "0",
            "HOST": "127.0.0.1",
            "LICENSE_FILE_PATH": str(self._license),
            "LICENSE_EXTRA_KEYS_FILE": str(self._keys),
            "LICENSE_AUTHORITY_ENDPOINT": it.lines[f"{name}>{self.cast.authority}"].url,
            "USAGE_TRACKING_API_KEY": self._api_key,
            "STATE_DIR": str(it.disks[name].folder),
        }
        await self._start(it, name, "streamstack_license_proxy", environment)

    async def _gateway(self, it: Stack, name: str) -> None:
        servers = [it.pieces[recognizer] for recognizer in self.cast.recognizers]
        addresses = [server.process.addresses["asr"] for server in servers if server.process is not None]
        environment = {
            "HOST": "127.0.0.1",
            "AAI_WSS_PORT": "0",
            "INTERNAL_PORT": "0",
            "ASR_POOLS": "english/en-default=" + ",".join(addresses),
            "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": ",".join(
                it.lines[f"{name}>{proxy}"].url for proxy in self.cast.proxies
            ),
            "STATE_DIR": str(self._folder(name)),
            "CAPACITY": "200",
            "USAGE_INTERVAL_SECONDS": str(self.interval_seconds),
        }
        await self._start(it, name, "streamstack_gateway", environment)

    async def _start(
        self,
        it: Stack,
        name: str,
        module: str,
        environment: Mapping[str, str],
        *,
        arguments: tuple[str, ...] = (),
        kind: type[ServiceProcess] = ServiceProcess,
    ) -> Piece:
        towards = [line for title, line in it.lines.items() if title.endswith(f">{name}")]

        def up(addresses: dict[str, str]) -> None:
            for line in towards:
                line.target = next(iter(addresses.values()))

        def down() -> None:
            for line in towards:
                line.target = None

        piece = it.pieces[name] = Piece(
            name,
            self.modules.get(module, module),
            self._folder(f"{name}-logs"),
            {"STREAMSTACK_CREDENTIAL_FILE": str(it.credential), **environment},
            arguments,
            kind=kind,
            up=up,
            down=down,
        )
        self.until.push_async_callback(piece.end)
        async with asyncio.timeout(START_SECONDS):
            await piece.start()
        return piece

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder


def free_port() -> int:
    """A port that was free a moment ago: gateways know speech-recognition servers by address, restarted ones too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@asynccontextmanager
async def stack(
    folder: Path, cast: Cast, *, modules: Mapping[str, str], interval_seconds: float
) -> AsyncIterator[Stack]:
    """Run everything; ``modules`` names others to run in place of the pieces' own."""
    async with AsyncExitStack() as until:
        yield await _Builder(folder, cast, modules, interval_seconds, until).build()
