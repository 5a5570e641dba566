"""What the server and its workers say to each other: frames on a socket pair. Pure.

A frame is a header (payload length, kind, session) and a payload: raw PCM for audio, structs for what there is one of
in every step of every session, JSON for the rest. Nothing in it can make the reader run code.
"""

import enum
import json
import logging
import struct
from typing import Final, NamedTuple

from streamstack_asr.engines.base import EngineEvent, Failed, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords

_HEADER: Final = struct.Struct("<IBI")
_TURN: Final = struct.Struct("<IQ")
_HYPOTHESIS: Final = struct.Struct("<IQQIdIddHHB")
_FINAL: Final = struct.Struct("<IIdHB")
_WORD: Final = struct.Struct("<QQd?H")
_NO_PROBABILITY: Final = -1.0
_SHARES: Final = tuple(step / 255 for step in range(256))
"""What a byte of a speech profile stands for."""


class Kind(enum.IntEnum):
    """What a frame says; the first six go to a worker, the others come from it."""

    OPEN = 1
    AUDIO = 2
    END_TURN = 3
    CLOSE = 4
    UPDATE = 10
    CONFIGURE = 11  # the first frame, to a worker that was not forked: what it shall be, as JSON
    HELLO = 5  # it serves; its session is the worker's process id, its payload the engine's own
    HYPOTHESIS = 6
    FINAL = 7
    TURN_ENDED = 8
    FAILED = 9
    UNABLE = 12  # instead of HELLO: why it cannot serve, as text; the worker ends
    BEAT = 13  # it is alive; its payload the engine's own
    LOG = 14  # a line for the server's log, as JSON


_KINDS: Final = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """One message; ``session`` is the number the server gave the session."""

    kind: Kind
    session: int
    payload: bytes


def encode(kind: Kind, session: int = 0, payload: bytes = b"") -> bytes:
    """One frame's bytes."""
    return _HEADER.pack(len(payload), kind, session) + payload


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that ``data`` completes. Raises ValueError for a kind that does not exist."""
        if self._missing > len(data):  # more of a long frame: joined once it is whole
            self._missing -= len(data)
            self._parts.append(data)
            return []
        stream = b"".join((*self._parts, data)) if self._parts else data
        frames: list[Frame] = []
        position, size, header = 0, len(stream), _HEADER.size
        missing = 0
        while size - position >= header:
            length, number, session = _HEADER.unpack_from(stream, position)
            end = position + header + length
            if end > size:
                missing = end - size
                break
            kind = _KINDS.get(number)
            if kind is None:
                raise ValueError(f"a frame is of kind {number}: expected one of {', '.join(map(str, _KINDS))}")
            frames.append(Frame(kind, session, stream[position + header : end]))
            position = end
        self._parts = [stream[position:]] if position < size else []
        self._missing = missing
        return frames


def encode_start(start: SessionStart) -> bytes:
    """Payload of OPEN: what a worker needs to know of a session's start."""
    config = _config(start.config)
    return json.dumps([start.model, start.first_sample, start.turn_id, start.turn_start_sample, *config]).encode()


def decode_start(payload: bytes) -> SessionStart:
    """The start, without the session's name, which no worker has a use for."""
    model, first_sample, turn_id, turn_start_sample, keyterms, language, formatted = json.loads(payload)
    config = SessionConfig(tuple(keyterms), language, formatted)
    return SessionStart("", model, first_sample, turn_id, turn_start_sample, config)


def encode_config(config: SessionConfig) -> bytes:
    """Payload of UPDATE."""
    return json.dumps(_config(config)).encode()


def decode_config(payload: bytes) -> SessionConfig:
    """The configuration of an UPDATE."""
    keyterms, language, formatted = json.loads(payload)
    return SessionConfig(tuple(keyterms), language, formatted)


def encode_log(record: logging.LogRecord) -> bytes:
    """Payload of LOG."""
    return json.dumps([record.name, record.levelno, record.getMessage()]).encode()


def decode_log(payload: bytes) -> tuple[str, int, str]:
    """Logger, level and message of a LOG."""
    name, level, message = json.loads(payload)
    return name, level, message


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
            return encode(Kind.HYPOTHESIS, session, _hypothesis(event))
        case FinalWords():
            language = event.language.encode()
            header = _FINAL.pack(
                event.turn_id, event.words_before, event.language_confidence, len(event.words), len(language)
            )
            return encode(Kind.FINAL, session, header + language + _words(event.words))
        case TurnEnded():
            return encode(Kind.TURN_ENDED, session, encode_turn(event.turn_id, event.through_sample))
        case Failed():
            return encode(Kind.FAILED, session, event.message.encode())


def decode_event(frame: Frame) -> EngineEvent:
    """The event in a frame from a worker. Raises ValueError for a frame that holds none."""
    payload = frame.payload
    match frame.kind:
        case Kind.HYPOTHESIS:
            return _read_hypothesis(payload)
        case Kind.FINAL:
            turn_id, before, confidence, count, size = _FINAL.unpack_from(payload)
            at = _FINAL.size + size
            language = payload[_FINAL.size : at].decode()
            return FinalWords(turn_id, before, _read_words(payload, at, count), language, confidence)
        case Kind.TURN_ENDED:
            return TurnEnded(*decode_turn(payload))
        case Kind.FAILED:
            return Failed(payload.decode())
        case _:
            raise ValueError(f"a worker sent {frame.kind.name}: expected an event of a session")


def _config(config: SessionConfig) -> tuple[tuple[str, ...], str, bool]:
    return config.keyterms, config.language, config.format


def _hypothesis(event: Hypothesis) -> bytes:
    complete = event.turn_complete_probability
    language = event.language.encode()
    profile = bytes([int(share * 255 + 0.5) for share in event.speech_profile])
    header = _HYPOTHESIS.pack(
        event.turn_id,
        event.through_sample,
        event.stable_through_sample,
        event.words_before,
        event.speech_probability,
        event.trailing_silence_ms,
        _NO_PROBABILITY if complete is None else complete,
        event.language_confidence,
        len(event.words),
        len(profile),
        len(language),
    )
    return b"".join((header, profile, language, _words(event.words)))


def _read_hypothesis(payload: bytes) -> Hypothesis:
    (turn_id, through, stable, before, speech, silence, complete, confidence, words, profile, language) = (
        _HYPOTHESIS.unpack_from(payload)
    )
    profile_end = _HYPOTHESIS.size + profile
    language_end = profile_end + language
    return Hypothesis(
        turn_id,
        through,
        stable,
        before,
        _read_words(payload, language_end, words),
        speech,
        silence,
        None if complete == _NO_PROBABILITY else complete,
        payload[profile_end:language_end].decode(),
        confidence,
        tuple([_SHARES[byte] for byte in payload[_HYPOTHESIS.size : profile_end]]),
    )


def _words(words: tuple[Word, ...]) -> bytes:
    parts = []
    for word in words:
        text = word.text.encode()
        parts.append(_WORD.pack(word.start_sample, word.end_sample, word.confidence, word.is_final, len(text)))
        parts.append(text)
    return b"".join(parts)


def _read_words(payload: bytes, at: int, count: int) -> tuple[Word, ...]:
    words = []
    for _ in range(count):
        start, end, confidence, is_final, size = _WORD.unpack_from(payload, at)
        at += _WORD.size
        words.append(Word(payload[at : at + size].decode(), start, end, confidence, is_final))
        at += size
    return tuple(words)
