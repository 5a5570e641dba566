"""The gRPC end of one link: one task reads, one writes, one timer beats; there is no task and no await per session."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from streamstack_asr.server.describe import status_source
from streamstack_asr.server.outbox import MAX_BACKLOG_BYTES, Outbox
from streamstack_asr.server.sessions import LinkSessions, Shared
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import HEARTBEAT_SECONDS, MISSED_HEARTBEATS

logger = logging.getLogger(__name__)

STATUS_INTERVAL_SECONDS: Final = 0.02
"""Least time between two statuses that changed slots cause; more often than a gateway can act on."""

LinkContext = grpc.aio.ServicerContext[asr_pb2.ToAsr, bytes]


class _End(NamedTuple):
    """Why a link ends; ``name`` is for metrics."""

    name: str
    code: grpc.StatusCode
    details: str


_GATEWAY_LEFT: Final = _End("gateway_left", grpc.StatusCode.OK, "")
_FINISHED: Final = _End("finished", grpc.StatusCode.OK, "")
_UNDECODABLE: Final = _End(
    "undecodable", grpc.StatusCode.INVALID_ARGUMENT, "a message cannot be decoded: expected streamstack.asr.v1.ToAsr"
)


class Link:
    """One link, from its first status to its end."""

    def __init__(self, shared: Shared, context: LinkContext, *, max_backlog_bytes: int = MAX_BACKLOG_BYTES) -> None:
        self._shared = shared
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[_End] = self._loop.create_future()
        self._idle: asyncio.Future[None] | None = None
        self._finishing = False
        self._silent_beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._status_timer: asyncio.TimerHandle | None = None
        self._status_at = 0.0
        self._make_status = status_source(shared.engine.describe, shared.slots, shared.instance_id)
        self.outbox = Outbox(wake=self._wake, status=self._status, max_backlog_bytes=max_backlog_bytes)
        self.sessions = LinkSessions(shared, self.outbox)

    async def serve(self) -> None:
        """Serve until the gateway leaves, falls silent or does not read, or until ``finish``.

        On return, or when it raises, no session and no slot is left. Aborts the call with the reason of a bad end.
        """
        # Before anything can be interrupted: grpc cannot end a call whose initial metadata is in flight, and the link
        # would hang open.
        await self._context.send_initial_metadata(())
        totals = self._shared.totals
        totals.links += 1
        self.outbox.put_status()
        self._shared.slots.subscribe(self._slots_changed)
        self._beat()
        tasks = (asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write()))
        try:
            await asyncio.wait((self._end, *tasks), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            totals.links_ended[_GATEWAY_LEFT.name] += 1
            raise
        finally:
            totals.links -= 1
            await self._release(tasks)
        end = self._end.result() if self._end.done() else _outcome(*tasks)
        totals.links_ended[end.name] += 1
        if end.code is not grpc.StatusCode.OK:
            logger.warning("Link ended: %s", end.details)
            # A gateway that leaves meanwhile does not hear why.
            with contextlib.suppress(grpc.aio.InternalError):
                await self._context.abort(end.code, end.details)

    def finish(self) -> None:
        """End the call once everything owed has been written."""
        self._finishing = True
        self._wake()

    async def _release(self, tasks: tuple[asyncio.Task[_End], ...]) -> None:
        self._shared.slots.unsubscribe(self._slots_changed)
        for timer in (self._timer, self._status_timer):
            if timer is not None:
                timer.cancel()
        self.sessions.link_lost()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> _End:
        # The annotations know no EOF.
        read: Callable[[], Awaitable[object]] = self._context.read
        receive = self.sessions.receive
        while True:
            try:
                message = await read()
            except DecodeError:
                return _UNDECODABLE
            if not isinstance(message, asr_pb2.ToAsr):
                return _GATEWAY_LEFT
            self._silent_beats = 0
            receive(message.requests)

    async def _write(self) -> _End:
        take = self.outbox.take
        write = self._context.write
        while True:
            message = take()
            if message:
                await write(message)
            elif self._finishing:
                return _FINISHED
            else:
                self._idle = self._loop.create_future()
                await self._idle

    def _wake(self) -> None:
        if self.outbox.overflowed:
            self._finish_with("not_reading", grpc.StatusCode.RESOURCE_EXHAUSTED, "the gateway does not read its link")
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _beat(self) -> None:
        # Beats are counted, not seconds: a server that was frozen itself does not find everybody else silent.
        if self._silent_beats >= MISSED_HEARTBEATS:
            silence = f"nothing was heard from the gateway for {MISSED_HEARTBEATS} heartbeats of {HEARTBEAT_SECONDS} s"
            self._finish_with("silent", grpc.StatusCode.DEADLINE_EXCEEDED, silence)
            return
        self._silent_beats += 1
        self.outbox.put_status()
        self._timer = self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _slots_changed(self) -> None:
        if self._status_timer is None:
            due = self._status_at + STATUS_INTERVAL_SECONDS
            self._status_timer = self._loop.call_at(due, self._send_status)

    def _send_status(self) -> None:
        self._status_timer = None
        self.outbox.put_status()

    def _status(self) -> bytes:
        self._status_at = self._loop.time()
        return self._make_status()

    def _finish_with(self, name: str, code: grpc.StatusCode, details: str) -> None:
        if not self._end.done():
            self._end.set_result(_End(name, code, details))


def _outcome(*tasks: asyncio.Task[_End]) -> _End:
    """The first task's end. A failed read or write means that the call is over; anything else is a bug and raises."""
    for task in tasks:
        if task.done() and not task.cancelled():
            try:
                return task.result()
            except (grpc.aio.UsageError, grpc.aio.InternalError, grpc.RpcError, asyncio.InvalidStateError):
                return _GATEWAY_LEFT
    return _GATEWAY_LEFT
