"""A real gRPC server on a real socket that answers links as a test tells it to; it recognises nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import AUTHORIZATION, SERVICE
from support.waiting import Waiting


class FakeLink(Waiting):
    """One link as the server sees it."""

    def __init__(self, metadata: dict[str, str]) -> None:
        super().__init__()
        self.metadata = metadata
        self.messages: list[asr_pb2.ToAsr] = []
        self.open_sessions: set[int] = set()
        self.replies: asyncio.Queue[asr_pb2.FromAsr | None] = asyncio.Queue()
        self.is_over = False

    def requests(self, kind: str | None = None) -> list[asr_pb2.SessionRequest]:
        """Everything received so far, in order."""
        return [
            request
            for message in self.messages
            for request in message.requests
            if kind is None or request.WhichOneof("request") == kind
        ]

    def send(self, *replies: asr_pb2.SessionReply, status: asr_pb2.ServerStatus | None = None) -> None:
        """Send one message."""
        self.replies.put_nowait(asr_pb2.FromAsr(replies=replies, status=status))

    def end(self) -> None:
        """End the stream without an error."""
        self.replies.put_nowait(None)


class FakeAsr(Waiting):
    """Slots are counted; ``refuse`` overrides the count; ``is_silent`` stops every word, heartbeats included."""

    def __init__(self, *, accepts: Callable[[str], bool] = lambda _bearer: True, name: str = "fake") -> None:
        super().__init__()
        self.name = name
        self.slots = 4
        self.models = ["en-default"]
        self.accepting = True
        self.is_silent = False
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.answers_opens = True
        self.beats = True
        self.refuse: Callable[[asr_pb2.Open], int | None] = lambda _open: None
        self.tls: grpc.ServerCredentials | None = None
        self.links: list[FakeLink] = []
        self.refused_credentials = 0
        self.address = ""
        self._accepts = accepts
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> "FakeAsr":
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=asr_pb2.ToAsr.FromString,
            response_serializer=asr_pb2.FromAsr.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Link": handler}),))
        wanted = self.address or "127.0.0.1:0"
        if self.tls is None:
            port = self._server.add_insecure_port(wanted)
        else:
            port = self._server.add_secure_port(wanted, self.tls)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        self.is_reading.set()
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def free(self) -> int:
        return self.slots - sum(len(link.open_sessions) for link in self.links if not link.is_over)

    @property
    def live_links(self) -> list[FakeLink]:
        return [link for link in self.links if not link.is_over]

    def requests(self, kind: str | None = None) -> list[asr_pb2.SessionRequest]:
        return [request for link in self.links for request in link.requests(kind)]

    def status(self) -> asr_pb2.ServerStatus:
        return asr_pb2.ServerStatus(
            instance_id=self.name,
            slots=self.slots,
            free_slots=max(0, self.free),
            accepting=self.accepting,
            left_context_ms=500,
            chunk_ms=160,
            window_ms=20_000,
            models=self.models,
        )

    def send_status(self) -> None:
        """Tell every gateway now, as a server does when its slots change."""
        if not self.is_silent:
            for link in self.live_links:
                link.send(status=self.status())

    async def _serve(
        self, requests: AsyncIterator[asr_pb2.ToAsr], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> None:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        if not self._accepts(metadata.get(AUTHORIZATION, "")):
            self.refused_credentials += 1
            self.notify()
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "expected the stack's credential")
        link = FakeLink(metadata)
        self.links.append(link)
        if not self.is_silent:
            link.send(status=self.status())
        reader = asyncio.create_task(self._read(link, requests))
        beater = asyncio.create_task(self._beat(link))
        self.notify()
        try:
            while (message := await link.replies.get()) is not None:
                await context.write(message)
        finally:
            link.is_over = True
            reader.cancel()
            beater.cancel()
            link.notify()
            self.notify()

    async def _beat(self, link: FakeLink) -> None:
        while True:
            await asyncio.sleep(0.05)
            if self.beats and not self.is_silent:
                link.send(status=self.status())

    async def _read(self, link: FakeLink, requests: AsyncIterator[asr_pb2.ToAsr]) -> None:
        async for message in requests:
            await self.is_reading.wait()
            link.messages.append(message)
            if not self.is_silent:
                for request in message.requests:
                    self._answer(link, request)
            link.notify()
            self.notify()
        # The gateway ended the stream.
        link.end()

    def _answer(self, link: FakeLink, request: asr_pb2.SessionRequest) -> None:
        kind = request.WhichOneof("request")
        if kind == "open" and self.answers_opens:
            reason = self.refuse(request.open)
            if reason is None and not self.accepting:
                reason = asr_pb2.Refused.NOT_ACCEPTING
            if reason is None and self.free <= 0:
                reason = asr_pb2.Refused.FULL
            if reason is not None:
                link.send(asr_pb2.SessionReply(session=request.session, refused=asr_pb2.Refused(reason=reason)))
                return
            link.open_sessions.add(request.session)
            link.send(
                asr_pb2.SessionReply(session=request.session, opened=asr_pb2.Opened(instance_id=self.name)),
                status=self.status(),
            )
        elif kind == "close" and request.session in link.open_sessions:
            link.open_sessions.discard(request.session)
            link.send(
                asr_pb2.SessionReply(session=request.session, closed=asr_pb2.Closed(reason=asr_pb2.Closed.REQUESTED)),
                status=self.status(),
            )
