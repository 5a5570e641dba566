"""Load: any number of v3 sessions in real time from one process, and how long each word takes.

Every session is a TCP connection of its own with a real upgrade (``wire.Client``).

What is measured (the ``null`` engine, ``streamstack_asr.engines.null``, defines the words):

- Sessions send 50 ms frames; a gateway sends whole 160 ms chunks up. Chunk c is complete when frame n leaves with
  ``n * 50 // 160 == c``; that is the moment its clock starts.
- The first ten chunks of a turn add one tentative word each, which ends where the chunk does: a Turn whose last word is
  tentative and ends at e ms answers chunk e / 160. The eleventh chunk makes the last word final: a Turn whose last word
  is final answers chunk e / 160 + 1. Both need one trip through the engine: the *latency* of the report.
- The twelfth chunk brings no news. The thirteenth ends the turn (480 ms of silence, above ``min_turn_silence``): its
  Turn, with ``end_of_turn``, answers chunk e / 160 + 3 after two trips (hypothesis, then EndTurn and its Final). It is
  reported apart as *turn end*.

So 13 chunks bring 12 Turns, whatever their number on the wire; a reply that never comes is counted as missing.

Commands on the input, events on the output, one JSON object a line: ``connected``; [go]; ``window_start``;
``window_end``; ``report``. Run by the other scripts here.
"""

import argparse
import asyncio
import gc
import json
import resource
import socket
import sys
from dataclasses import asdict
from time import perf_counter
from typing import Any, Final

import uvloop
from wire import CHUNK_MS, FRAME_MS, TURN_CHUNKS, Client, Spread, Tally, upgrade

SLOTS: Final = 50
"""Sends are spread over the 50 ms of a frame, a slot each millisecond."""
SPREAD_MS: Final = TURN_CHUNKS * CHUNK_MS
"""Sessions start evenly spread over one turn, so that chunks, turns and their ends do not come in step."""
TICK_SECONDS: Final = 0.001
CONNECT_AT_ONCE: Final = 20
BEGIN_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 1.0


class Load:
    """All sessions of a run and their schedule."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.tally = Tally()
        self.clients: list[Client] = []
        self.lags: list[float] = []
        self._port = port
        self._loop = loop
        self._request = upgrade(port)
        self._slots: list[list[Client]] = [[] for _ in range(SLOTS)]
        self._tick = 0
        self._stopped = False

    async def connect(self) -> Client:
        """Open one session; its clock starts before the TCP connect and stops at ``Begin``."""
        client = Client(self.tally, self._loop)
        client.started = perf_counter()
        # Loopback: the kernel of this machine answers, so connecting does not wait for anybody's event loop.
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(self._request)
        connection.setblocking(False)
        await self._loop.create_connection(lambda: client, sock=connection)
        self.clients.append(client)
        return client

    async def connect_many(self, count: int) -> None:
        """Open the sessions of a run, a few at a time, and wait for their ``Begin``."""
        while len(self.clients) < count:
            batch = [await self.connect() for _ in range(min(CONNECT_AT_ONCE, count - len(self.clients)))]
            await asyncio.wait_for(asyncio.gather(*(client.begun for client in batch)), BEGIN_SECONDS)

    def join(self, client: Client) -> None:
        """Let a session send from now on."""
        self._slots[self._tick % SLOTS].append(client)

    def part(self, client: Client) -> None:
        """Let a session send no more."""
        for slot in self._slots:
            if client in slot:
                slot.remove(client)

    def stop(self) -> None:
        """Send no more at all."""
        self._stopped = True

    async def stream(self) -> None:
        """Send until stopped; lag is how late each slot begins."""
        starts = [(index * SPREAD_MS // len(self.clients), client) for index, client in enumerate(self.clients)]
        starts.reverse()
        begin = perf_counter()
        while not self._stopped:
            due = begin + self._tick * TICK_SECONDS
            ahead = due - perf_counter()
            await asyncio.sleep(max(0.0, ahead))
            now = perf_counter()
            if self.tally.window_start <= now < self.tally.window_end:
                self.lags.append(now - due)
            while starts and starts[-1][0] <= self._tick:
                self.join(starts.pop()[1])
            for client in self._slots[self._tick % SLOTS]:
                client.send_audio()
            self._tick += 1

    def close(self) -> None:
        """Drop every socket."""
        self.tally.closing = True
        for client in self.clients:
            client.transport.abort()


class Arrivals:
    """Sessions that come, stream for a while and leave; then many at once."""

    def __init__(self, load: Load, *, per_second: float, seconds: float, life_seconds: float, burst: int) -> None:
        self.late_seconds: list[float] = []
        self.arrival_begins: list[float] = []
        self.burst_begins: list[float] = []
        self.burst_late = 0.0
        self._load = load
        self._count = int(per_second * seconds)
        self._interval = 1 / per_second if per_second else 0.0
        self._life_seconds = life_seconds
        self._burst = burst

    async def run(self) -> None:
        """First the arrivals, then the burst."""
        begins = self._load.tally.begin_seconds
        first, lives = len(begins), []
        begin = perf_counter()
        for index in range(self._count):
            due = begin + index * self._interval
            await asyncio.sleep(max(0.0, due - perf_counter()))
            self.late_seconds.append(perf_counter() - due)
            lives.append(asyncio.create_task(self._live(await self._load.connect())))
        await asyncio.gather(*lives)
        self.arrival_begins = begins[first:]
        first = len(begins)
        clients = [await self._load.connect() for _ in range(self._burst)]
        if clients:
            await asyncio.wait([client.begun for client in clients], timeout=BEGIN_SECONDS)
        self.burst_begins = begins[first:]
        for client in clients:
            client.leave()

    async def _live(self, client: Client) -> None:
        await asyncio.wait([client.begun], timeout=BEGIN_SECONDS)
        if not client.begun.done() or client.begun.exception() is not None:
            return
        self._load.join(client)
        await asyncio.sleep(self._life_seconds)
        self._load.part(client)
        client.leave()


def say(event: str, **facts: object) -> None:
    """Tell the script that runs this."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    """Connect, wait for the word, stream, measure, report."""
    loop = asyncio.get_running_loop()
    load = Load(options.port, loop)
    try:
        await _warm_up(load)
        say("warmed")
        await _word(loop)
        await load.connect_many(options.sessions)
        say("connected", begin=asdict(Spread.of(load.tally.begin_seconds)))
        await _word(loop)
        gc.collect()
        gc.freeze()
        gc.disable()
        await _measure(load, options)
    except (OSError, EOFError, TimeoutError) as error:
        say("failed", error=f"{type(error).__name__}: {error}", errors=load.tally.errors)
    finally:
        load.close()


async def _word(loop: asyncio.AbstractEventLoop) -> None:
    """Wait for the script's word. Raises EOFError when there is no script any more."""
    if not await loop.run_in_executor(None, sys.stdin.readline):
        raise EOFError("nobody is there to measure")


async def _warm_up(load: Load) -> None:
    """A few short sessions, so that memory and code every first session needs are there."""
    clients = [await load.connect() for _ in range(3)]
    await asyncio.wait_for(asyncio.gather(*(client.begun for client in clients)), BEGIN_SECONDS)
    for _ in range(20):
        for client in clients:
            client.send_audio()
        await asyncio.sleep(FRAME_MS / 1000)
    load.close()
    await asyncio.sleep(DRAIN_SECONDS)
    load.tally = Tally()
    load.clients.clear()


async def _measure(load: Load, options: argparse.Namespace) -> None:
    tally = load.tally
    streaming = asyncio.create_task(load.stream())
    await asyncio.sleep(SPREAD_MS / 1000 + options.warm_up)
    arrivals = Arrivals(
        load, per_second=options.arrivals, seconds=options.seconds, life_seconds=options.life, burst=options.burst
    )
    say("window_start")
    before, began, sent, received = _own_cpu_seconds(), perf_counter(), tally.sent, tally.received
    tally.window_start = began
    if options.arrivals or options.burst:
        await arrivals.run()
    else:
        await asyncio.sleep(options.seconds)
    tally.window_end = perf_counter()
    elapsed = tally.window_end - began
    facts: dict[str, Any] = {
        "seconds": elapsed,
        "sent": tally.sent - sent,
        "received": tally.received - received,
        "own_cpu": round((_own_cpu_seconds() - before) / elapsed, 3),
    }
    say("window_end")
    load.stop()
    await streaming
    await asyncio.sleep(DRAIN_SECONDS)
    say(
        "report",
        **facts,
        latency=asdict(Spread.of(tally.partial_seconds)),
        turn_end=asdict(Spread.of(tally.end_seconds)),
        lag=asdict(Spread.of(load.lags)),
        missing=sum(client.missing for client in load.clients),
        lost=tally.lost,
        stalls=tally.stalls,
        errors=tally.errors,
        messages=dict(tally.messages),
        arrivals=asdict(Spread.of(arrivals.arrival_begins)),
        arrivals_late=asdict(Spread.of(arrivals.late_seconds)),
        burst=asdict(Spread.of(arrivals.burst_begins)),
    )


def _own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the window, or of the arrivals")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds of streaming before the window")
    parser.add_argument("--arrivals", type=float, default=0.0, help="sessions a second that come and go")
    parser.add_argument("--life", type=float, default=3.0, help="seconds each of them streams")
    parser.add_argument("--burst", type=int, default=0, help="sessions that come at once after the arrivals")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(run(_options()))
