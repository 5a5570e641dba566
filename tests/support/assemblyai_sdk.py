"""The AssemblyAI Python SDK, used the way its documentation does."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from assemblyai.streaming.v3 import (
    BeginEvent,
    StreamingClient,
    StreamingClientOptions,
    StreamingError,
    StreamingEvents,
    StreamingParameters,
    TerminationEvent,
    TurnEvent,
)


@dataclass
class Heard:
    """What the SDK's callbacks were given."""

    begins: list[BeginEvent] = field(default_factory=list)
    turns: list[TurnEvent] = field(default_factory=list)
    terminations: list[TerminationEvent] = field(default_factory=list)
    errors: list[StreamingError] = field(default_factory=list)
    terminated: threading.Event = field(default_factory=threading.Event)

    @property
    def finals(self) -> list[TurnEvent]:
        return [turn for turn in self.turns if turn.end_of_turn]

    def on_termination(self, _client: StreamingClient, event: TerminationEvent) -> None:
        self.terminations.append(event)
        self.terminated.set()


def paced(audio: bytes) -> Iterator[bytes]:
    """Frames of 50 ms at the pace of a microphone.

    Faster, and what is left to recognise at the end takes a busy machine longer than the SDK's five seconds.
    """
    began_seconds = time.monotonic()
    for start in range(0, len(audio), 1600):
        time.sleep(max(0.0, began_seconds + start / 32_000 - time.monotonic()))
        yield audio[start : start + 1600]


def speak(endpoint: str, audio: bytes, **parameters: object) -> Heard:
    """Use the SDK the way its documentation does."""
    heard = Heard()
    client = StreamingClient(StreamingClientOptions(api_key="self-hosted", api_host=endpoint))
    client.on(StreamingEvents.Begin, lambda _, event: heard.begins.append(event))
    client.on(StreamingEvents.Turn, lambda _, event: heard.turns.append(event))
    client.on(StreamingEvents.Termination, heard.on_termination)
    client.on(StreamingEvents.Error, lambda _, error: heard.errors.append(error))
    client.connect(StreamingParameters(sample_rate=16_000, **parameters))
    client.stream(paced(audio))
    # All audio is with the gateway; the SDK's own disconnect gives up after five seconds.
    client.disconnect(terminate=True)
    return heard
