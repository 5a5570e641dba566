"""What the server and its workers say to each other: frames on a socket pair. Pure.

A frame is a header (payload length, kind, session) and a payload: raw PCM for audio, a struct for a turn's end, JSON
for the rest. Nothing in it can make the reader run code.
"""

import enum
import json
import struct
from typing import Any, Final, NamedTuple

from streamstack_asr.engines.base import EngineEvent, Failed, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords

LARGEST_CONTROL_MESSAGE: Final = 4_096
"""Of what goes between the server and its fork server, in bytes."""

_HEADER: Final = struct.Struct("<IBI")
_TURN: Final = struct.Struct("<IQ")


class Kind(enum.IntEnum):
    """What a frame says; the first four go to a worker, the others come from it."""

    OPEN = 1
    AUDIO = 2
    END_TURN = 3
    CLOSE = 4
    HELLO = 5  # its session is the worker's process id
    HYPOTHESIS = 6
    FINAL = 7
    TURN_ENDED = 8
    FAILED = 9


class Frame(NamedTuple):
    """One message; ``session`` is the number the server gave the session."""

    kind: Kind
    session: int
    payload: bytes


def encode(kind: Kind, session: int, payload: bytes = b"") -> bytes:
    """One frame's bytes."""
    return _HEADER.pack(len(payload), kind, session) + payload


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that ``data`` completes. Raises ValueError for a kind that does not exist."""
        self._bytes += data
        frames: list[Frame] = []
        position = 0
        while len(self._bytes) - position >= _HEADER.size:
            length, kind, session = _HEADER.unpack_from(self._bytes, position)
            end = position + _HEADER.size + length
            if len(self._bytes) < end:
                break
            frames.append(Frame(Kind(kind), session, bytes(self._bytes[position + _HEADER.size : end])))
            position = end
        del self._bytes[:position]
        return frames


def encode_start(start: SessionStart) -> bytes:
    """Payload of OPEN: what a worker needs to know of a session's start."""
    return json.dumps([start.first_sample, start.turn_id, start.turn_start_sample]).encode()


def decode_start(payload: bytes) -> SessionStart:
    """The start, without the names and the configuration, which a worker has no use for."""
    first_sample, turn_id, turn_start_sample = json.loads(payload)
    return SessionStart("", "", first_sample, turn_id, turn_start_sample, SessionConfig())


def encode_turn(turn_id: int, through_sample: int) -> bytes:
    """Payload of END_TURN and TURN_ENDED."""
    return _TURN.pack(turn_id, through_sample)


def decode_turn(payload: bytes) -> tuple[int, int]:
    """Turn and the sample it ends at."""
    turn_id, through_sample = _TURN.unpack(payload)
    return turn_id, through_sample


def encode_event(session: int, event: EngineEvent) -> bytes:
    """One frame of what happened in a session."""
    match event:
        case Hypothesis():
            numbers: list[Any] = [
                event.turn_id,
                event.through_sample,
                event.stable_through_sample,
                event.words_before,
                _words(event.words),
                event.speech_probability,
                event.trailing_silence_ms,
            ]
            return encode(Kind.HYPOTHESIS, session, json.dumps(numbers).encode())
        case FinalWords():
            numbers = [event.turn_id, event.words_before, _words(event.words)]
            return encode(Kind.FINAL, session, json.dumps(numbers).encode())
        case TurnEnded():
            return encode(Kind.TURN_ENDED, session, encode_turn(event.turn_id, event.through_sample))
        case Failed():
            return encode(Kind.FAILED, session, event.message.encode())


def decode_event(frame: Frame) -> EngineEvent:
    """The event in a frame from a worker. Raises ValueError for a frame that holds none."""
    match frame.kind:
        case Kind.HYPOTHESIS:
            turn_id, through, stable, before, words, speech, silence = json.loads(frame.payload)
            return Hypothesis(turn_id, through, stable, before, _read_words(words), speech, silence)
        case Kind.FINAL:
            turn_id, before, words = json.loads(frame.payload)
            return FinalWords(turn_id, before, _read_words(words))
        case Kind.TURN_ENDED:
            return TurnEnded(*decode_turn(frame.payload))
        case Kind.FAILED:
            return Failed(frame.payload.decode())
        case _:
            raise ValueError(f"a worker sent {frame.kind.name}: expected an event of a session")


def _words(words: tuple[Word, ...]) -> list[list[object]]:
    return [[w.text, w.start_sample, w.end_sample, w.confidence, w.is_final] for w in words]


def _read_words(rows: list[list[Any]]) -> tuple[Word, ...]:
    return tuple(Word(*row) for row in rows)
