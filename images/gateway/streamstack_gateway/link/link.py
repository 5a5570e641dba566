"""The gateway's end of ``Recognizer.Link``: one gRPC stream to one ASR server, any number of sessions on it.

A gRPC message costs about ten times a session's share of one, so what is due while a write is in flight goes out
together, and nothing waits when the link is idle. One writer task and one reader task for the link's whole life.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import grpc.aio
from google.protobuf.message import DecodeError

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import LINK
from streamstack_gateway.link.attempt import LinkAttempt, Owner
from streamstack_gateway.link.bugs import log_bug
from streamstack_gateway.link.losses import Loss, of_closed, of_status
from streamstack_gateway.link.outbox import Lane, LinkBacklogError, Outbox, SessionBacklogError
from streamstack_gateway.link.settings import DEFAULT_SETTINGS, LinkSettings
from streamstack_gateway.placement.ports import Listener, ServerFacts

logger = logging.getLogger(__name__)


_Handler = Callable[["Link", LinkAttempt, asr_pb2.SessionReply], None]


class LinkEvents(Protocol):
    """Who made the link: hears how it fares. Called on the event loop."""

    def link_status(self, link: "Link", status: asr_pb2.ServerStatus) -> None:
        """The server spoke of itself; the first time means the link is up."""

    def link_lost(self, link: "Link", loss: Loss, detail: str) -> None:
        """The link is over, once; its sessions are told after this returns."""


class Link:
    """One link, alive from construction (inside a running loop) until ``lose`` or the server's end.

    Args:
        channel: not owned: who made it closes it.
        metadata: of the stream, with the credential as it is now.
        events: hears status and end.
        observe_batch: told the number of requests in each message written.
        settings: see there.

    """

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        metadata: Sequence[tuple[str, str]],
        events: LinkEvents,
        observe_batch: Callable[[float], None],
        settings: LinkSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.status: asr_pb2.ServerStatus | None = None
        self.loss: Loss | None = None
        self._facts: ServerFacts | None = None
        self._events = events
        self._observe_batch = observe_batch
        self._settings = settings
        self._outbox = Outbox(settings.outbox)
        self._attempts: dict[int, LinkAttempt] = {}
        self._last_number = 0
        self._silent_intervals = 0
        self._beats = 0
        self._last_beat_at = -1.0
        self._is_beat_due = True
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # Bytes both ways: gRPC's own deserializer hides a malformed message behind None.
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(LINK)(metadata=tuple(metadata))
        self._timer = self._loop.call_later(settings.heartbeat_seconds, self._tick)
        self._tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        for task in self._tasks:
            task.add_done_callback(self._task_done)

    @property
    def sessions(self) -> int:
        """Attempts on this link, with a slot or asking for one."""
        return len(self._attempts)

    @property
    def is_congested(self) -> bool:
        """Whether so much waits that sessions had better keep their audio."""
        return self._outbox.waiting_bytes > self._settings.outbox.congested_bytes

    def open(self, request: asr_pb2.Open, listener: Listener, owner: Owner) -> LinkAttempt:
        """Ask for a slot. On a link that is over, nothing is ever heard of the attempt."""
        self._last_number += 1
        attempt = LinkAttempt(link=self, lane=Lane(self._last_number), listener=listener, owner=owner)
        if self.loss is not None:
            attempt.is_over = True
            return attempt
        self._attempts[self._last_number] = attempt
        self.put(attempt, request.ByteSize(), {"open": request})
        return attempt

    def put(self, attempt: LinkAttempt, payload_bytes: int, request: dict[str, Any]) -> None:
        """Queue one request of an attempt; a bound that is overrun ends the attempt, or the link, soon after."""
        if attempt.is_over or attempt.is_overrun:
            return
        try:
            self._outbox.put(attempt.lane, payload_bytes, request)
        except SessionBacklogError:
            # Ended soon, not from within the session's own call; nothing after the gap may go out.
            attempt.is_overrun = True
            self._loop.call_soon(self._end, attempt, Loss.SESSION_BACKLOG)
        except LinkBacklogError:
            attempt.is_overrun = True
            self._loop.call_soon(self.lose, Loss.BACKLOG)
        self._wake.set()

    def close_attempt(self, attempt: LinkAttempt) -> None:
        """Give the slot back, or withdraw the wish for one; the owner hears ``ended(None)`` at once."""
        if attempt.is_over:
            return
        self._give_up(attempt)
        attempt.owner.ended(attempt, None)

    def lose(self, loss: Loss, detail: str = "") -> None:
        """End the link and the attempts of all its sessions; harmless when it is over."""
        if self.loss is not None:
            return
        self.loss = loss
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._call.cancel()
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            attempt.is_over = True
            self._outbox.drop(attempt.lane)
        self._events.link_lost(self, loss, detail)
        for attempt in attempts.values():
            self._tell_owner(attempt, loss)

    async def closed(self) -> None:
        """Wait until nothing of a lost link runs any more."""
        await asyncio.wait(self._tasks)

    # ------------------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        try:
            while True:
                message = self._next_message()
                if message is None:
                    self._wake.clear()
                    await self._wake.wait()
                else:
                    not_before = self._loop.time() + self._settings.write_interval_seconds
                    await self._call.write(message)
                    await asyncio.sleep(max(0.0, not_before - self._loop.time()))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reader learns why.
            return

    def _next_message(self) -> bytes | None:
        if not self._outbox and not self._is_beat_due:
            return None
        message = asr_pb2.ToAsr()
        count = self._outbox.fill(message.requests.add)
        if count:
            self._observe_batch(count)
        now = self._loop.time()
        # A heartbeat that rides on a message costs nothing; alone it costs a write.
        if self._is_beat_due or now - self._last_beat_at >= self._settings.heartbeat_seconds / 2:
            self._beats += 1
            self._last_beat_at = now
            self._is_beat_due = False
            message.heartbeat.sequence = self._beats
        return message.SerializeToString()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._settings.heartbeat_seconds, self._tick)
        # Intervals are counted, not time: a stall of this process is one late tick, not a frozen server.
        self._silent_intervals += 1
        is_up = self.status is not None
        if self._silent_intervals > self._settings.silent_intervals(is_up=is_up):
            self.lose(Loss.FROZEN if is_up else Loss.CONNECT_TIMEOUT)
        elif self._loop.time() - self._last_beat_at >= self._settings.heartbeat_seconds / 2:
            self._is_beat_due = True
            self._wake.set()

    # ------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        try:
            while self.loss is None:
                raw = await self._call.read()
                if not isinstance(raw, bytes):
                    # EOF: the server ended the stream without an error.
                    self.lose(Loss.ENDED)
                    return
                self._silent_intervals = 0
                self._receive(asr_pb2.FromAsr.FromString(raw))
        except grpc.aio.AioRpcError as error:
            self.lose(of_status(error.code()), error.details() or "")
        except DecodeError:
            self.lose(Loss.PROTOCOL, "expected a FromAsr message")

    def _receive(self, message: asr_pb2.FromAsr) -> None:
        # Status first: an Opened in the same message may or may not be in it, and counting a slot as taken
        # twice for a moment is harmless where counting it as free is not.
        if message.HasField("status"):
            self._take_status(message.status)
        attempts = self._attempts
        for reply in message.replies:
            attempt = attempts.get(reply.session)
            # Late words of an attempt that is closed here mean nothing any more.
            if attempt is not None:
                self._dispatch(attempt, reply)

    def _take_status(self, status: asr_pb2.ServerStatus) -> None:
        self.status = status
        self._facts = ServerFacts(
            instance_id=status.instance_id,
            left_context_ms=status.left_context_ms,
            chunk_ms=status.chunk_ms,
            window_ms=status.window_ms,
        )
        self._events.link_status(self, status)

    def _dispatch(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        kind = reply.WhichOneof("reply")
        # A reply that a newer server knows and this gateway does not is none.
        if kind is None:
            return
        handlers = self._WITH_SLOT if attempt.has_slot else self._WITHOUT_SLOT
        handler = handlers.get(kind)
        try:
            if handler is None:
                self._end(attempt, Loss.SESSION_PROTOCOL)
            else:
                handler(self, attempt, reply)
        except Exception as error:  # noqa: BLE001 - whatever a session's bug is, it must not reach the other sessions
            log_bug(logger, f"listener on {kind}", error)
            self._end(attempt, Loss.LISTENER_FAILED)

    def _opened(self, attempt: LinkAttempt, _reply: asr_pb2.SessionReply) -> None:
        if self._facts is None:
            self._end(attempt, Loss.SESSION_PROTOCOL)
            return
        attempt.facts = self._facts
        attempt.has_slot = True
        attempt.owner.opened(attempt)

    def _refused(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.is_over = True
        del self._attempts[attempt.lane.number]
        self._outbox.drop(attempt.lane)
        attempt.owner.refused(attempt, reply.refused)

    def _closed(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.is_over = True
        del self._attempts[attempt.lane.number]
        self._outbox.drop(attempt.lane)
        loss = of_closed(reply.closed.reason)
        logger.warning("a server closed a session unasked: %s", loss)
        self._tell_owner(attempt, loss)

    def _hypothesis(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.listener.hypothesis(reply.hypothesis)

    def _final(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.listener.final(reply.final)

    def _turn_ended(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.listener.turn_ended(reply.turn_ended)

    def _please_move(self, attempt: LinkAttempt, reply: asr_pb2.SessionReply) -> None:
        attempt.listener.please_move(reply.please_move)

    # -------------------------------------------------------------------------------------------------- ending

    def _end(self, attempt: LinkAttempt, loss: Loss) -> None:
        if not attempt.is_over:
            self._give_up(attempt)
            self._tell_owner(attempt, loss)

    def _give_up(self, attempt: LinkAttempt) -> None:
        attempt.is_over = True
        self._attempts.pop(attempt.lane.number, None)
        if attempt.lane.sent:
            self._outbox.replace(attempt.lane, {"close": {}})
            self._wake.set()
        else:
            # The server never heard of it.
            self._outbox.drop(attempt.lane)

    def _tell_owner(self, attempt: LinkAttempt, loss: Loss) -> None:
        try:
            attempt.owner.ended(attempt, loss)
        except Exception as error:  # noqa: BLE001 - one session's bug must not keep the others from hearing their loss
            log_bug(logger, "listener on lost", error)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log_bug(logger, "link", error)
            self.lose(Loss.BUG)

    _WITHOUT_SLOT: ClassVar[dict[str, _Handler]] = {"opened": _opened, "refused": _refused, "closed": _closed}
    _WITH_SLOT: ClassVar[dict[str, _Handler]] = {
        "hypothesis": _hypothesis,
        "final": _final,
        "turn_ended": _turn_ended,
        "please_move": _please_move,
        "closed": _closed,
    }
