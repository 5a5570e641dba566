"""A gateway's end of one link: what is due while a write is in flight goes out together."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import (
    AUTHORIZATION,
    DESCRIBE,
    HEARTBEAT_SECONDS,
    LINK,
    MAX_MESSAGE_BYTES,
)
from streamstack_common.credential import Credential

CALL_SECONDS: Final = 30.0
"""How long a server may take to answer, or to become ready for the next sessions."""

WRITE_INTERVAL_SECONDS: Final = 0.004
"""An idle link is written at once, a busy one this often, as a gateway does it."""

Hear = Callable[[asr_pb2.SessionReply, float], None]
"""Takes one reply and when it came, seconds of the event loop's clock; never blocks, never raises."""


class LinkError(Exception):
    """A server cannot be reached, refused the call, or ended it; the message names it and why."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how to get in; ``root_certificates`` (PEM) means TLS, empty: gRPC's own set."""

    address: str
    credential: Credential
    root_certificates: bytes | None = None

    async def describe(self) -> asr_pb2.Description:
        """Ask what it is. Raises LinkError."""
        async with self._channel() as channel:
            call = channel.unary_unary(
                DESCRIBE,
                request_serializer=asr_pb2.DescribeRequest.SerializeToString,
                response_deserializer=asr_pb2.Description.FromString,
            )
            try:
                answer: asr_pb2.Description = await call(
                    asr_pb2.DescribeRequest(), metadata=self._metadata(), timeout=CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                raise self._error(error) from error
        return answer

    def link(self, hear: Hear) -> "Link":
        """Make a link to enter; every reply goes to ``hear``."""
        return Link(self._channel(), self._metadata(), hear=hear, name=self.address)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return ((AUTHORIZATION, self.credential.bearer()),)

    def _channel(self) -> grpc.aio.Channel:
        # No proxy of the environment: audio goes to the address that was given.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
        if self.root_certificates is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        trust = grpc.ssl_channel_credentials(root_certificates=self.root_certificates or None)
        return grpc.aio.secure_channel(self.address, trust, options=options)

    def _error(self, error: grpc.aio.AioRpcError) -> LinkError:
        return LinkError(f"{self.address}: {_told(error)}")


class Link(AbstractAsyncContextManager["Link"]):
    """One stream with any number of sessions, entered once the server has spoken. Made by ``Server.link``."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]], *, hear: Hear, name: str
    ) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._hear = hear
        self._name = name
        self._due: deque[asr_pb2.SessionRequest] = deque()
        self._wake = asyncio.Event()
        self._status: asr_pb2.ServerStatus | None = None
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self.ended: str | None = None
        """Why the link is over, None while it is not."""

    async def __aenter__(self) -> Self:
        """Connect. Raises LinkError."""
        await self._channel.__aenter__()
        call: grpc.aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(LINK)(metadata=self._metadata)
        self._call = call
        self._tasks = [asyncio.create_task(work) for work in (self._read(), self._write(), self._beat())]
        try:
            await self._until(lambda: self._status is not None, "said nothing")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the call: the server frees every slot."""
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def room_for(self, sessions: int) -> None:
        """Wait until the server takes that many new sessions. Raises LinkError."""

        def has_room() -> bool:
            status = self._status
            return status is not None and status.accepting and status.free_slots >= sessions

        await self._until(has_room, f"has no {sessions} free slots")

    def put(self, requests: Iterable[asr_pb2.SessionRequest]) -> None:
        """Send soon, in order."""
        self._due.extend(requests)
        self._wake.set()

    async def _until(self, condition: Callable[[], bool], problem: str) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS), self._changed:
                await self._changed.wait_for(lambda: condition() or self.ended is not None)
        except TimeoutError:
            raise LinkError(f"{self._name} {problem} within {CALL_SECONDS:g} s") from None
        if self.ended is not None:
            raise LinkError(f"{self._name}: {self.ended}")

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for data in self._call:
                now = loop.time()
                message = asr_pb2.FromAsr.FromString(data)
                for reply in message.replies:
                    self._hear(reply, now)
                if message.HasField("status"):
                    async with self._changed:
                        self._status = message.status
                        self._changed.notify_all()
            self.ended = "the server ended the link"
        except grpc.aio.AioRpcError as error:
            self.ended = _told(error)
        except DecodeError:
            self.ended = "it sent no messages of this contract"
        async with self._changed:
            self._changed.notify_all()

    async def _write(self) -> None:
        # The stream is over when a write fails; the reader learns why.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            loop, sequence = asyncio.get_running_loop(), 0
            while True:
                await self._wake.wait()
                self._wake.clear()
                while True:
                    sequence += 1
                    not_before = loop.time() + WRITE_INTERVAL_SECONDS
                    message = asr_pb2.ToAsr(heartbeat=asr_pb2.Heartbeat(sequence=sequence))
                    message.requests.extend(self._take())
                    await self._call.write(message.SerializeToString())
                    await asyncio.sleep(max(0.0, not_before - loop.time()))
                    if not self._due:
                        break

    def _take(self) -> list[asr_pb2.SessionRequest]:
        taken, room = [], MAX_MESSAGE_BYTES
        while self._due and (room := room - len(self._due[0].audio.pcm)) >= 0:
            taken.append(self._due.popleft())
        return taken

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._wake.set()


def _told(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details() or 'no reason given'}"
