"""Messages sent in several WebSocket frames, put together again (RFC 6455 5.4); `websockets` bounds their size."""

from dataclasses import dataclass

from websockets.frames import Frame, Opcode


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: TEXT or BINARY."""

    opcode: Opcode
    data: bytes


class Fragments:
    """The message that is under way, if any."""

    __slots__ = ("_data", "_opcode")

    def __init__(self) -> None:
        self._opcode = Opcode.BINARY
        self._data = bytearray()

    def add(self, frame: Frame) -> Message | None:
        """Take a data frame; answers the message when it is whole."""
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
            self._data = bytearray()
        self._data += frame.data
        if not frame.fin:
            return None
        message = Message(self._opcode, bytes(self._data))
        self._data = bytearray()
        return message
