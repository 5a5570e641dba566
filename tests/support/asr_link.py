"""A plain gateway's end of one link: sends what a test says, keeps what comes back."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import grpc

from streamstack_common.contracts import asr_pb2, rpc

PATIENCE_SECONDS = 30.0
PIECE_SAMPLES = 1600


class LinkClient:
    """One link. ``replies`` are by session number, ``statuses`` in order; ``contract`` may be another version's."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], contract: ModuleType | Any = asr_pb2
    ) -> None:
        self.contract = contract
        self.replies: dict[int, list[Any]] = defaultdict(list)
        self.statuses: list[Any] = []
        self.messages = 0
        self.ended: grpc.StatusCode | None = None
        self.details = ""
        self._changed = asyncio.Condition()
        # grpc allows one write at a time; the heartbeat must not meet the test's own.
        self._writing = asyncio.Lock()
        self._offsets: dict[int, int] = {}
        call = channel.stream_stream(
            rpc.LINK,
            request_serializer=contract.ToAsr.SerializeToString,
            response_deserializer=contract.FromAsr.FromString,
        )
        self.call = call(metadata=metadata)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, heartbeat: bool = True) -> None:
        self._tasks.append(asyncio.create_task(self._read()))
        if heartbeat:
            self._tasks.append(asyncio.create_task(self._beat()))

    async def close(self) -> None:
        self.call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, *requests: Any) -> None:
        await self._write(self.contract.ToAsr(requests=requests))

    async def _write(self, message: Any) -> None:
        async with self._writing:
            await self.call.write(message)

    async def open(self, number: int, *, model: str = "en-default", first_sample: int = 0, **fields: Any) -> None:
        fields.setdefault("turn_start_sample", first_sample)
        request = self.contract.Open(session_id=f"s{number}", model=model, first_sample=first_sample, **fields)
        self._offsets[number] = first_sample
        await self.send(self.contract.SessionRequest(session=number, open=request))

    async def audio(self, number: int, pcm: bytes, *, offset: int | None = None) -> None:
        at = self._offsets[number] if offset is None else offset
        self._offsets[number] = at + len(pcm) // 2
        message = self.contract.Audio(offset=at, pcm=pcm)
        await self.send(self.contract.SessionRequest(session=number, audio=message))

    async def stream(self, number: int, pcm: bytes, *, samples: int = PIECE_SAMPLES) -> None:
        for at in range(0, len(pcm), 2 * samples):
            await self.audio(number, pcm[at : at + 2 * samples])

    async def end_turn(self, number: int, turn_id: int, through_sample: int) -> None:
        message = self.contract.EndTurn(turn_id=turn_id, through_sample=through_sample)
        await self.send(self.contract.SessionRequest(session=number, end_turn=message))

    async def close_session(self, number: int) -> None:
        await self.send(self.contract.SessionRequest(session=number, close=self.contract.Close()))

    async def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until ``condition`` answers something true, and give it back."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            while not (answer := condition()):
                await self._changed.wait()
            return answer

    async def wait_reply(self, number: int, kind: str) -> Any:
        """The first reply of a kind (``opened``, ``closed``, ...) to a session."""

        def find() -> Any:
            return next((r for r in self.replies[number] if r.WhichOneof("reply") == kind), None)

        return getattr(await self.wait_for(find), kind)

    def kinds(self, number: int) -> list[str]:
        """Kinds of the replies to a session, hypotheses left out."""
        kinds = [reply.WhichOneof("reply") for reply in self.replies[number]]
        return [kind for kind in kinds if kind != "hypothesis"]

    def turns(self, number: int) -> dict[int, list[Any]]:
        """Words by turn, put together as the contract says: finals are sent once, ``words_before`` counts them."""
        turns: dict[int, list[Any]] = defaultdict(list)
        for reply in self.replies[number]:
            kind = reply.WhichOneof("reply")
            if kind not in {"hypothesis", "final"}:
                continue
            message = getattr(reply, kind)
            finals = [word for word in turns[message.turn_id] if word.is_final]
            # A turn may end before words that were decoded already: they are not counted, the next turn has them.
            exact = kind == "hypothesis"
            assert len(finals) == message.words_before or (not exact and len(finals) > message.words_before), (
                "a final word was lost or sent twice"
            )
            turns[message.turn_id] = finals[: message.words_before] + list(message.words)
        return turns

    def text(self, number: int) -> str:
        turns = self.turns(number)
        return " ".join(word.text for turn in sorted(turns) for word in turns[turn])

    async def _read(self) -> None:
        try:
            async for message in self.call:
                async with self._changed:
                    self.messages += 1
                    for reply in message.replies:
                        self.replies[reply.session].append(reply)
                    if message.HasField("status"):
                        self.statuses.append(message.status)
                    self._changed.notify_all()
        except grpc.aio.AioRpcError as error:
            self.details = error.details() or ""
        finally:
            if self.call.done():
                self.ended = await self.call.code()
            async with self._changed:
                self._changed.notify_all()

    async def _beat(self) -> None:
        sequence = 0
        while not self.call.done():
            sequence += 1
            beat = self.contract.Heartbeat(sequence=sequence)
            try:
                await self._write(self.contract.ToAsr(heartbeat=beat))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
                return
            await asyncio.sleep(rpc.HEARTBEAT_SECONDS)


@asynccontextmanager
async def link(
    address: str,
    metadata: tuple[tuple[str, str], ...],
    *,
    heartbeat: bool = True,
    contract: ModuleType | Any = asr_pb2,
) -> AsyncIterator[LinkClient]:
    """Open a link to ``host:port`` and close it at the end."""
    # Links of one test must not share a connection that a test may stall.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        client = LinkClient(channel, metadata, contract)
        client.start(heartbeat=heartbeat)
        try:
            yield client
        finally:
            await client.close()
