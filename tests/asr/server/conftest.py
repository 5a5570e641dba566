from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from streamstack_asr.engines import registry
from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.server.run import AsrServer
from streamstack_asr.settings import AsrSettings
from streamstack_common.credential import Credential
from support.service import TOKEN, write_credential


@dataclass(slots=True)
class Running:
    """A server in this process, on ports of the kernel's choice."""

    server: AsrServer
    metadata: tuple[tuple[str, str], ...]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def http(self) -> aiohttp.ClientSession:
        headers = {"Authorization": self.metadata[0][1]}
        return aiohttp.ClientSession(f"http://127.0.0.1:{self.server.internal_port}", headers=headers)


StartServer = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start_server(tmp_path: Path) -> StartServer:
    """Starts servers: ``async with start_server(engine=..., slots=...) as running``."""

    @asynccontextmanager
    async def start(
        *,
        engine: str | AsrEngine = "scripted",
        models: str = "en-default",
        slots: int = 4,
        stop_grace_seconds: float = 0.0,
        warm: bool = True,
    ) -> AsyncIterator[Running]:
        path = write_credential(tmp_path)
        settings = AsrSettings(
            host="127.0.0.1",
            server_port=0,
            internal_port=0,
            max_open_streams=slots,
            engine=engine if isinstance(engine, str) else "null",
            models=models,
            stop_grace_seconds=stop_grace_seconds,
            revision="r1",
            credential_file=str(path),
        )
        made = registry.create(engine, settings.engine_options) if isinstance(engine, str) else engine
        server = AsrServer(settings, made, Credential(path))
        await server.listen()
        if warm:
            await server.warm_up()
        try:
            yield Running(server, (("authorization", f"Bearer {TOKEN}"),))
        finally:
            await server.stop()

    return start


@pytest.fixture
async def running(start_server: StartServer) -> AsyncIterator[Running]:
    async with start_server() as running:
        yield running
