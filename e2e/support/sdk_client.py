"""The AssemblyAI SDK as a program: a recording in real time, and what the SDK's callbacks were given as JSON lines.

Run as a process of its own, so that a test can act while the recording plays, and so that certificates and names reach
it the way they reach any user's program: by its environment.
"""

import argparse
import json
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

from assemblyai.streaming.v3 import StreamingClient, StreamingClientOptions, StreamingEvents, StreamingParameters

CHUNK_MS = 100
TERMINATE_SECONDS = 120
"""How long the last words may take on a machine that is busy; the SDK's default is five."""


def say(kind: str, **facts: object) -> None:
    """Print one line for the test that reads along."""
    sys.stdout.write(json.dumps({"kind": kind, **facts}) + "\n")
    sys.stdout.flush()


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the recording at the pace it was spoken."""
    with wave.open(str(path)) as recording:
        due = time.monotonic()
        while chunk := recording.readframes(recording.getframerate() * CHUNK_MS // 1000):
            due += CHUNK_MS / 1000
            time.sleep(max(0.0, due - time.monotonic()))
            yield chunk


def main() -> int:
    """Stream; 0 when the session ended as it should."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("speech_model")
    arguments = parser.parse_args()
    terminated, failed = threading.Event(), threading.Event()

    def on_termination(_client: StreamingClient, event: object) -> None:
        say("Termination", audio_seconds=getattr(event, "audio_duration_seconds", None))
        terminated.set()

    def on_error(_client: StreamingClient, error: object) -> None:
        say("Error", error=str(error), code=getattr(error, "code", None))
        failed.set()

    options = StreamingClientOptions(
        api_key="self-hosted", api_host=arguments.endpoint, terminate_timeout=TERMINATE_SECONDS
    )
    client = StreamingClient(options)
    client.on(StreamingEvents.Begin, lambda _, event: say("Begin", id=event.id))
    client.on(
        StreamingEvents.Turn,
        lambda _, turn: say("Turn", order=turn.turn_order, end=turn.end_of_turn, transcript=turn.transcript),
    )
    client.on(StreamingEvents.Termination, on_termination)
    client.on(StreamingEvents.Error, on_error)
    with wave.open(str(arguments.recording)) as recording:
        rate = recording.getframerate()
    client.connect(StreamingParameters(sample_rate=rate, speech_model=arguments.speech_model))
    if not failed.is_set():
        client.stream(chunks(arguments.recording))
    client.disconnect(terminate=True)
    return 0 if terminated.is_set() and not failed.is_set() else 1


if __name__ == "__main__":
    sys.exit(main())
