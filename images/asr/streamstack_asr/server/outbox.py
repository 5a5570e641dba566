"""What one link still has to tell its gateway, bounded, without I/O.

A piece is one serialised ``FromAsr``. Serialised messages written one after another parse as their merge (protobuf
encoding, "Last One Wins": repeated fields are concatenated), so pieces that are due together become one message
without being parsed or copied field by field.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from streamstack_common.contracts.rpc import MAX_MESSAGE_BYTES

MAX_BACKLOG_BYTES: Final = 8 * MAX_MESSAGE_BYTES
"""What a link may owe before its gateway counts as not reading: minutes of replies for a hundred sessions."""


class Outbox:
    """Pieces in order; the writer takes as much as one message holds whenever the last write is done.

    Args:
        wake: called when something becomes due in an empty outbox; the writer then calls ``take``.
        status: makes the piece that reports the server's status; asked when it is sent, so that it is never stale.
        max_backlog_bytes: beyond it ``overflowed`` turns true and stays so; nothing is kept from then on.

    """

    __slots__ = ("_bytes", "_max_backlog", "_pieces", "_status", "_status_due", "_wake", "overflowed")

    def __init__(
        self, *, wake: Callable[[], None], status: Callable[[], bytes], max_backlog_bytes: int = MAX_BACKLOG_BYTES
    ) -> None:
        self._wake = wake
        self._status = status
        self._status_due = False
        self._max_backlog = max_backlog_bytes
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self.overflowed = False

    def put(self, piece: bytes) -> None:
        """Owe one more piece."""
        if self.overflowed:
            return
        was_empty = not self._pieces
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > self._max_backlog:
            self.overflowed = True
            self._pieces.clear()
            self._bytes = 0
            self._wake()
        elif was_empty:
            self._wake()

    def put_status(self) -> None:
        """Owe a status; several owed at once are one."""
        self._status_due = True
        self._wake()

    def take(self) -> bytes:
        """Give the next message, at most ``MAX_MESSAGE_BYTES`` unless one piece alone is longer; empty when idle."""
        status = b""
        if self._status_due:
            self._status_due = False
            status = self._status()
        if len(status) + self._bytes <= MAX_MESSAGE_BYTES:
            message = status + b"".join(self._pieces)
            self._pieces.clear()
            self._bytes = 0
            return message
        return status + b"".join(self._take_some(MAX_MESSAGE_BYTES - len(status)))

    def _take_some(self, room: int) -> list[bytes]:
        taken: list[bytes] = []
        while self._pieces and (len(self._pieces[0]) <= room or not taken):
            piece = self._pieces.popleft()
            room -= len(piece)
            taken.append(piece)
            self._bytes -= len(piece)
        return taken
