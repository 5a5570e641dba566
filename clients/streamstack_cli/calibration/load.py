"""So many sessions in real time, none of them in step with another, and what became of their chunks."""

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from streamstack_cli.calibration.link import Link, Server
from streamstack_cli.calibration.measures import Tally
from streamstack_cli.calibration.speaker import Speaker, Speech, spread
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import SAMPLE_RATE, ms_to_samples

TICK_SECONDS: Final = 0.001
"""Chunks that are due within it go out together: a wake-up for each would cost more than they do."""

GRACE_SECONDS: Final = 0.1
"""Waited beyond the moment from which an answer of the window could only be late."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """How a level is measured.

    Sessions begin within ``settle_seconds``, each at its own moment, then a window of ``seconds`` counts. Every
    ``turn_seconds`` a session ends its turn; 0: never. ``target_seconds`` is the latency to tell from later ones.
    """

    model: str
    pcm: bytes
    chunk_ms: int
    settle_seconds: float
    seconds: float
    turn_seconds: float
    target_seconds: float
    window_opened: Callable[[], None] = _nothing
    window_closed: Callable[[], None] = _nothing

    @property
    def chunk_seconds(self) -> float:
        """Length of a chunk."""
        return self.chunk_ms / 1000

    @property
    def starting_seconds(self) -> float:
        """Sessions begin within it: whole chunks, so that within a chunk they lie evenly, too."""
        return ceil(self.settle_seconds / 2 / self.chunk_seconds) * self.chunk_seconds

    @property
    def before_window_seconds(self) -> float:
        """From the first session's beginning to the window; every session has sent two chunks by then."""
        return max(self.settle_seconds, self.starting_seconds + 2 * self.chunk_seconds)

    @property
    def grace_seconds(self) -> float:
        """From the window's end until an answer that has not come is late and above the target."""
        return max(self.chunk_seconds, self.target_seconds) + GRACE_SECONDS

    @property
    def total_seconds(self) -> float:
        """Length of a level."""
        return self.before_window_seconds + self.seconds + self.grace_seconds


async def measure(server: Server, sessions: int, plan: LevelPlan) -> Tally:
    """Run one level on a link of its own. Raises LinkError when the server takes no sessions at all."""
    load = _Load(sessions, plan)
    async with server.link(load.hear) as link:
        await link.room_for(sessions)
        return await load.run(link)


class _Load:
    """The sessions of one level."""

    def __init__(self, sessions: int, plan: LevelPlan) -> None:
        self._plan = plan
        self._tally = Tally(plan.chunk_seconds)
        chunk_samples = ms_to_samples(plan.chunk_ms)
        speech = Speech(plan.pcm, chunk_samples=chunk_samples)
        turn_chunks = round(plan.turn_seconds * SAMPLE_RATE / chunk_samples)
        self._speakers = {
            number: Speaker(number, speech, chunk_samples=chunk_samples, turn_chunks=turn_chunks)
            for number in range(1, sessions + 1)
        }
        self._window = (0.0, 0.0)
        self._awaited = 0

    async def run(self, link: Link) -> Tally:
        """Speak until the window is over and every answer in it has come or is late, or until something breaks."""
        plan, loop = self._plan, asyncio.get_running_loop()
        begin = loop.time()
        opens = begin + plan.before_window_seconds
        closes = opens + plan.seconds
        self._window = (opens, closes)
        meter = _Meter(plan)
        due = [(begin + spread(number) * plan.starting_seconds, number) for number in self._speakers]
        heapq.heapify(due)
        while not self._broken(link):
            now = loop.time()
            meter.look(now, opens=opens, closes=closes)
            link.put(self._due(due, now))
            if now >= closes and (not self._awaited or now >= closes + plan.grace_seconds):
                break
            await asyncio.sleep(max(due[0][0] - loop.time(), TICK_SECONDS))
        self._tally.driver_share = meter.share
        self._count_unanswered(loop.time())
        return self._tally

    def hear(self, reply: asr_pb2.SessionReply, now: float) -> None:
        """Take one reply."""
        speaker = self._speakers.get(reply.session)
        kind = reply.WhichOneof("reply")
        if speaker is None:
            return
        if kind == "hypothesis":
            for due, latency in speaker.decoded(reply.hypothesis.through_sample, now):
                if self._counts(due):
                    self._awaited -= 1
                    self._tally.latencies.append(latency)
        elif kind == "turn_ended":
            ended = speaker.turn_ended(reply.turn_ended.turn_id, now)
            if ended is not None and self._counts(ended.due):
                self._tally.turn_ends.append(ended.latency)
        elif kind == "refused":
            reason = asr_pb2.Refused.Reason.Name(reply.refused.reason)
            self._tally.failures.append(f"a session was refused, {reason}: {reply.refused.message}")
        elif kind == "closed":
            reason = asr_pb2.Closed.Reason.Name(reply.closed.reason)
            self._tally.failures.append(f"a session was closed, {reason}: {reply.closed.message}")

    def _due(self, due: list[tuple[float, int]], now: float) -> list[asr_pb2.SessionRequest]:
        requests: list[asr_pb2.SessionRequest] = []
        while due[0][0] <= now:
            at, number = due[0]
            speaker = self._speakers[number]
            if speaker.opened:
                requests.extend(speaker.speak(at))
                if self._counts(at):
                    self._awaited += 1
                    self._tally.lags.append(now - at)
            else:
                requests.append(speaker.open(self._plan.model))
            heapq.heapreplace(due, (at + self._plan.chunk_seconds, number))
        return requests

    def _broken(self, link: Link) -> bool:
        if link.ended is not None:
            self._tally.failures.append(f"the link was lost: {link.ended}")
        return bool(self._tally.failures)

    def _counts(self, due: float) -> bool:
        return self._window[0] <= due < self._window[1]

    def _count_unanswered(self, now: float) -> None:
        for speaker in self._speakers.values():
            self._tally.latencies.extend(now - due for _, due in speaker.unanswered if self._counts(due))


class _Meter:
    """What measuring costs within the window, and the word to whoever measures besides."""

    def __init__(self, plan: LevelPlan) -> None:
        self._plan = plan
        self._opened: tuple[float, float] | None = None
        self._closed = False
        self.share = 0.0

    def look(self, now: float, *, opens: float, closes: float) -> None:
        """See whether the window opens or closes."""
        if self._opened is None and now >= opens:
            self._opened = (now, time.process_time())
            self._plan.window_opened()
        elif self._opened is not None and not self._closed and now >= closes:
            self._closed = True
            began, used = self._opened
            self.share = (time.process_time() - used) / (now - began)
            self._plan.window_closed()
