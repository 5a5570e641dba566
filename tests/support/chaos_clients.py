"""Callers of a chaos run: sessions of known length, in real time, that end with the gateway they are on."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from support.chaos_judge import Sent, Session
from support.chaos_pieces import Lived, Piece, now
from support.edge import SELF_HOSTED

FRAME_SECONDS = 0.1
TRY_AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
"""Only a failing run waits this long for the last words of a session."""
LICENSE_CODE = 1008
"""Of an ``Error``: the license admits no session, or the client has no authorization."""
BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_mulaw": 1}


@dataclass(frozen=True, slots=True)
class Call:
    """One session to be: when it begins, its exact length, and how much faster than real time it speaks."""

    at_seconds: float
    samples: int
    sample_rate: int
    encoding: str
    speed: float
    gateway: int

    @property
    def target(self) -> str:
        return f"/v3/ws?sample_rate={self.sample_rate}&encoding={self.encoding}&include_partial_turns=false"

    def ms(self, samples: int) -> int:
        """Whole milliseconds, as they are billed."""
        return samples * 1000 // self.sample_rate

    @property
    def rounded_seconds(self) -> int:
        """What ``Termination`` says."""
        return (self.samples + self.sample_rate // 2) // self.sample_rate


def calls(chance: random.Random, count: int, *, seconds: float, gateways: int, longest: float) -> tuple[Call, ...]:
    """Sessions of chance over a run; one in ten is a file sent four times as fast, one in ten a phone line's."""
    made = [_call(chance, seconds=seconds, gateways=gateways, longest=longest) for _ in range(count)]
    return tuple(sorted(made, key=lambda call: call.at_seconds))


def _call(chance: random.Random, *, seconds: float, gateways: int, longest: float) -> Call:
    rate, encoding = (8000, "pcm_mulaw") if chance.random() < 0.1 else (16_000, "pcm_s16le")
    length = chance.uniform(0.05, 2.5) if chance.random() < 0.1 else chance.uniform(2, longest)
    speed = 4.0 if chance.random() < 0.1 else 1.0
    begin = chance.uniform(0, max(1.0, seconds - length / speed))
    return Call(begin, int(length * rate), rate, encoding, speed, chance.randrange(gateways))


@dataclass
class Caller:
    """Makes one call, on the next gateway that takes it, and tells what became of it."""

    call: Call
    gateways: Sequence[Piece]
    session_id: str = ""
    lived: Lived | None = None
    sent: list[Sent] = field(default_factory=list)
    ending: str = "nothing"
    refusals: list[str] = field(default_factory=list)

    async def make(self) -> None:
        """Wait for the call's time, and go through with it."""
        await asyncio.sleep(self.call.at_seconds)
        for attempt in range(10_000):
            piece = self.gateways[(self.call.gateway + attempt) % len(self.gateways)]
            if await self._tried(piece):
                return
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    @property
    def license_refusals(self) -> list[str]:
        """Where a gateway took no session because of the license."""
        return [refusal for refusal in self.refusals if f": {LICENSE_CODE} " in refusal]

    def told(self) -> Session | None:
        """The session, None where there never was one."""
        if self.lived is None:
            return None
        said_goodbye = self.ending == f"Termination after {self.call.rounded_seconds} s"
        return Session(self.session_id, self.lived.told(), tuple(self.sent), said_goodbye, self.ending)

    async def _tried(self, piece: Piece) -> bool:
        """Whether there was a session."""
        life, process = piece.life, piece.process
        if life is None or process is None:
            return False
        url = process.addresses["gateway"] + self.call.target
        try:
            async with connect(url, additional_headers=SELF_HOSTED, ping_interval=None, open_timeout=30) as client:
                first: dict[str, Any] = orjson.loads(await client.recv())
                if first["type"] != "Begin":
                    self.refusals.append(f"{piece.name}: {first['error_code']} {first['error']}")
                    return False
                self.session_id, self.lived = first["id"], life
                await self._talk(client)
        except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as error:
            if self.lived is None:
                self.refusals.append(f"{piece.name}: {type(error).__name__} {error}")
        return self.lived is not None

    async def _talk(self, client: ClientConnection) -> None:
        listening = asyncio.create_task(self._listen(client))
        try:
            await self._speak(client)
            await client.send('{"type": "Terminate"}')
        except ConnectionClosed:
            pass  # what there was to hear says why
        async with asyncio.timeout(PATIENCE_SECONDS):
            await listening

    async def _speak(self, client: ClientConnection) -> None:
        call, began, samples = self.call, now(), 0
        for piece in self._frames():
            await asyncio.sleep(began + samples / call.sample_rate / call.speed - now())
            samples += piece
            # Before it is sent: more than this the gateway cannot have.
            self.sent.append(Sent(now(), call.ms(samples)))
            await client.send(bytes(piece * BYTES_PER_SAMPLE[call.encoding]))

    def _frames(self) -> Iterator[int]:
        step, left = int(self.call.sample_rate * FRAME_SECONDS), self.call.samples
        while left > 0:
            yield min(step, left)
            left -= step

    async def _listen(self, client: ClientConnection) -> None:
        try:
            while True:
                message = orjson.loads(await client.recv())
                if message["type"] == "Termination":
                    self.ending = f"Termination after {message['audio_duration_seconds']} s"
                elif message["type"] == "Error":
                    self.ending = f"Error {message['error_code']}: {message['error']}"
        except ConnectionClosed as closed:
            if self.ending == "nothing":
                self.ending = f"closed: {closed}"
