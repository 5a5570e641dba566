"""The gateway's own layers as a server, cut off at a chosen depth, for ``frame_cost.py``.

- ``socket``: edge and WebSocket protocol; audio is taken from the frame and dropped.
- ``session``: and the session up to the place where audio would go on a link (rules, clock, pace, buffer, steps). The
  attempt there answers every chunk with a hypothesis without words, so that buffers are trimmed as in life.
- ``turns``: and the words of the ``null`` engine: turn detection, what the client is shown, JSON, the reply's way out.

What stands in for the server costs something itself: about 1 µs a chunk for a callback and, in ``turns``, as much again
for setting positions in messages that are made once.
"""

import argparse
import asyncio
import gc
import signal
import uuid
from typing import Final

import uvloop
from wire import CHUNK_MS, TURN_CHUNKS

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import ms_to_samples
from streamstack_common.process import announce, die_with_parent
from streamstack_gateway.dialects.events import Begun, ClientEvent, SessionRequest
from streamstack_gateway.edge.server import EdgeServer
from streamstack_gateway.models import ModelMap
from streamstack_gateway.placement.ports import Listener, PoolReport, ServerFacts
from streamstack_gateway.session.budget import ByteBudget
from streamstack_gateway.session.ports import Client, Limits
from streamstack_gateway.session.registry import Sessions
from streamstack_gateway.tokens import Grant

LAYERS: Final = ("socket", "session", "turns")
CHUNK_SAMPLES: Final = ms_to_samples(CHUNK_MS)
WORDS: Final = ("we", "hold", "these", "truths", "to", "be", "self", "evident", "and", "plain")
FACTS: Final = ServerFacts(instance_id="layers", left_context_ms=0, chunk_ms=CHUNK_MS, window_ms=10_000)


class Deaf:
    """A session that drops audio; all a connection needs of one."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())

    def audio(self, data: bytes, now: float) -> None:
        """Drop it."""

    def receive(self, event: ClientEvent, now: float) -> None:
        """Drop it."""

    def gone(self) -> None:
        """Nothing to end."""

    def fail(self, error: Exception) -> None:
        """Nothing to end."""


class DeafSessions:
    """Stands in for ``Sessions``."""

    def begin(self, _request: SessionRequest, _grant: Grant, client: Client, _now: float) -> Deaf:
        """Greet."""
        session = Deaf()
        client.send(Begun(session.id, 0, "none"))
        return session

    def tick(self, now: float, *, late_seconds: float) -> None:
        """Nothing depends on time."""

    def relieve(self) -> None:
        """Nothing is held."""


def _silent() -> asr_pb2.Hypothesis:
    return asr_pb2.Hypothesis(speech_probability=0.0, trailing_silence_ms=CHUNK_MS)


def _spoken(chunk: int) -> asr_pb2.Hypothesis:
    """Make the null engine's answer to a chunk of a turn, 0 to 12, with positions still to be set."""
    words = [
        asr_pb2.Word(text=WORDS[index], end_sample=CHUNK_SAMPLES, confidence=0.9, is_final=index < chunk)
        for index in range(max(0, chunk - 1), min(chunk + 1, len(WORDS)))
    ]
    speaking = chunk < len(WORDS)
    return asr_pb2.Hypothesis(
        words_before=min(max(0, chunk - 1), len(WORDS)),
        words=words,
        speech_probability=float(speaking),
        trailing_silence_ms=0 if speaking else (chunk - len(WORDS) + 1) * CHUNK_MS,
    )


SILENT: Final = _silent()
SPOKEN: Final = [_spoken(chunk) for chunk in range(TURN_CHUNKS)]


class Answering:
    """A slot whose server is this process: every chunk is answered in the next turn of the event loop."""

    __slots__ = ("_listener", "_loop", "_sent", "_speaks", "_turn_id", "_turn_start", "facts")

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop, *, speaks: bool) -> None:
        self.facts = FACTS
        self._listener = listener
        self._loop = loop
        self._speaks = speaks
        self._sent = self._turn_id = self._turn_start = 0

    @property
    def is_congested(self) -> bool:
        """Nothing is in the way."""
        return False

    def audio(self, offset: int, pcm: bytes) -> None:
        """Answer a chunk soon."""
        self._sent = offset + len(pcm) // 2
        self._loop.call_soon(self._answer, self._sent)

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """End the turn soon; its words are final already."""
        self._loop.call_soon(self._end, turn_id, through_sample)

    def update(self, config: asr_pb2.SessionConfig) -> None:
        """Nothing can be configured."""

    def close(self) -> None:
        """Say no more."""
        self._speaks = False

    def _answer(self, through: int) -> None:
        message = SILENT
        if self._speaks:
            chunk = (through - self._turn_start) // CHUNK_SAMPLES - 1
            message = SPOKEN[min(chunk, TURN_CHUNKS - 1)]
            start = self._turn_start + message.words_before * CHUNK_SAMPLES
            for word in message.words:
                word.start_sample = start
                start += CHUNK_SAMPLES
                word.end_sample = start
        message.turn_id = self._turn_id
        message.through_sample = message.stable_through_sample = through
        self._listener.hypothesis(message)

    def _end(self, turn_id: int, through: int) -> None:
        self._turn_id, self._turn_start = turn_id + 1, through
        self._listener.final(asr_pb2.Final(turn_id=turn_id, words_before=len(WORDS)))
        self._listener.turn_ended(asr_pb2.TurnEnded(turn_id=turn_id, through_sample=through))


class Served:
    """A wish that is served at once."""

    def leave(self) -> None:
        """Nothing waits."""


class AnsweringPools:
    """Pools with a slot for everybody."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, speaks: bool) -> None:
        self._loop = loop
        self._speaks = speaks

    def free_slots(self, pool: str) -> int | None:
        """Nobody counts."""
        return None

    def refuse(self, pool: str) -> None:
        """Nobody is refused."""

    def enter(self, pool: str, listener: Listener) -> Served:
        """Open soon, as a server would."""
        self._loop.call_soon(self._open, listener)
        return Served()

    def report(self) -> dict[str, PoolReport]:
        """Nobody counts."""
        return {}

    def _open(self, listener: Listener) -> None:
        listener.open_request()
        listener.opened(Answering(listener, self._loop, speaks=self._speaks))


def _sessions(loop: asyncio.AbstractEventLoop, *, speaks: bool) -> Sessions:
    return Sessions(
        models=ModelMap.configure({"en-default": "english"}, aliases="", fallbacks=""),
        pools=AnsweringPools(loop, speaks=speaks),
        budget=ByteBudget(1 << 30),
        limits=Limits(),
        capacity=20_000,
        max_sessions=20_000,
        revision="",
        license_refusal=lambda: None,
    )


def _nothing_missing() -> str | None:
    return None


def _forget(_seconds: float) -> None:
    return None


async def serve(layer: str) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    sessions: Sessions | DeafSessions = (
        DeafSessions() if layer == "socket" else _sessions(loop, speaks=layer == "turns")
    )
    edge = EdgeServer(
        sessions,  # type: ignore[arg-type]  # the part of it that an edge uses
        unready=_nothing_missing,
        observe_begin=_forget,
        max_connections=20_000,
        tokens=None,
    )
    port = await edge.start("127.0.0.1", 0, None)
    gc.collect()
    gc.freeze()
    announce(gateway=f"ws://127.0.0.1:{port}")
    await stop.wait()
    await edge.stop()


if __name__ == "__main__":
    die_with_parent()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("layer", choices=LAYERS)
    uvloop.run(serve(parser.parse_args().layer))
