"""A TCP connection that can be cut, and mended: an API server that is away, without ending the one everybody shares."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 64 * 1024


class Line:
    """Forwards connections to a port of loopback. ``cut`` ends them and lets new ones end at once, until ``mend``."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_cut = False
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.refused = 0

    @property
    def server(self) -> str:
        """Address of a TLS server at the other end."""
        return f"https://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End what is open."""
        self._is_cut = True
        for task in self._open:
            task.cancel()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection."""
        self._writers.add(writer)
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        task = asyncio.create_task(self._forward(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def end(self) -> None:
        """End what is open, and wait for it."""
        self.cut()
        if self._open:
            await asyncio.wait(self._open)
        for writer in self._writers:
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.add(there)
        ways = [asyncio.create_task(_copy(reader, there)), asyncio.create_task(_copy(there_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while content := await reader.read(CHUNK):
            writer.write(content)
            await writer.drain()
    except ConnectionError:
        return


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Yield a line to ``port`` of loopback."""
    line = Line(port)
    server = await asyncio.start_server(line.take, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        await line.end()
        await server.wait_closed()
