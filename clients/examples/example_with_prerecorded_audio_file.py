#!/usr/bin/env python3
"""Streams a recording to a streaming speech-to-text endpoint, in real time, and shows what is heard while it is heard.

    python example_with_prerecorded_audio_file.py --endpoint ws://localhost:8080

Stands alone: needs Python 3.11 and `websockets`. Start reading at `transcribe`.
"""

import argparse
import asyncio
import json
import sys
import wave
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

CHUNK_MS = 100  # the API takes 50 to 1000 ms a message
HEADERS = {"Authorization": "self-hosted"}  # every session of a self-hosted stack needs it


class ExampleError(Exception):
    """Something the user can do something about."""


def read_recording(path: Path) -> tuple[int, bytes]:
    """Sample rate and samples of a mono 16-bit PCM WAV file."""
    try:
        with wave.open(str(path)) as recording:
            if (recording.getnchannels(), recording.getsampwidth()) != (1, 2):
                raise ExampleError(
                    f"{path}: {recording.getnchannels()} channels of {8 * recording.getsampwidth()} bits: expected one "
                    f"of 16; convert it with: ffmpeg -i {path} -ac 1 -ar 16000 -c:a pcm_s16le converted.wav"
                )
            return recording.getframerate(), recording.readframes(recording.getnframes())
    except OSError as error:
        raise ExampleError(f"{path}: {error.strerror}") from error
    except (wave.Error, EOFError) as error:
        raise ExampleError(f"{path}: expected a mono 16-bit PCM WAV file: {error}") from error


def session_url(endpoint: str, **parameters: object) -> str:
    """Address of a session: the endpoint, /v3/ws unless it has a path, and the parameters that were given."""
    if not endpoint.startswith(("ws://", "wss://")):
        raise ExampleError(f"--endpoint {endpoint}: expected ws://HOST:PORT or wss://HOST")
    path = "" if urlsplit(endpoint).path.strip("/") else "/v3/ws"
    given = {name: value for name, value in parameters.items() if value}
    return f"{endpoint.rstrip('/')}{path}?{urlencode(given)}"


async def send_audio(websocket: ClientConnection, sample_rate: int, samples: bytes) -> None:
    """Send chunks at the pace at which they were spoken, then ask for the end."""
    size = 2 * sample_rate * CHUNK_MS // 1000
    clock = asyncio.get_running_loop()
    due = clock.time()
    for start in range(0, len(samples), size):
        due += CHUNK_MS / 1000
        await asyncio.sleep(due - clock.time())
        await websocket.send(samples[start : start + size])
    await websocket.send(json.dumps({"type": "Terminate"}))


async def receive(websocket: ClientConnection) -> None:
    """Show messages until the server closes; every message is a JSON object with a type."""
    async for text in websocket:
        message = json.loads(text)
        match message["type"]:
            case "Begin":
                print(f"session {message['id']}", file=sys.stderr)
            case "Turn" if message["end_of_turn"]:
                # One turn is one utterance; its transcript is complete now.
                show("final", message["transcript"])
            case "Turn":
                # Words may still be growing or, with some models, change.
                show("partial", " ".join(word["text"] for word in message["words"]))
            case "Termination":
                print(f"{message['audio_duration_seconds']} seconds of audio", file=sys.stderr)
            case "Error":
                # The close frame that follows carries the same code; see main().
                print(f"error {message['error_code']}: {message['error']}", file=sys.stderr)
            case "Warning":
                print(f"warning {message['warning_code']}: {message['warning']}", file=sys.stderr)
            case other:
                print(f"message of type {other}", file=sys.stderr)


def show(kind: str, words: str) -> None:
    """One line that grows in place on a terminal; a line for every step elsewhere."""
    if not words:
        return
    if not sys.stdout.isatty():
        print(f"{kind}: {words}", flush=True)
    elif kind == "partial":
        print(f"\r\x1b[K\x1b[2m{words[-100:]}\x1b[0m", end="", flush=True)
    else:
        print(f"\r\x1b[K{words}", flush=True)


async def transcribe(url: str, sample_rate: int, samples: bytes) -> None:
    """Run a session: send and receive at the same time until the server has said everything."""
    direct = "//localhost" in url or "//127." in url
    async with connect(url, additional_headers=HEADERS, proxy=None if direct else True) as websocket:
        sending = asyncio.create_task(send_audio(websocket, sample_rate, samples))
        try:
            await receive(websocket)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if websocket.close_code != 1000:
            raise ExampleError(f"the server closed the session: {websocket.close_code} {websocket.close_reason}")


def main() -> int:
    """Read the arguments and run one session; the exit status."""
    parser = argparse.ArgumentParser(description="Streams a recording and shows what is heard.")
    parser.add_argument("--audio-file", type=Path, default=Path(__file__).with_name("recording.wav"))
    parser.add_argument("--endpoint", default="ws://localhost:8080")
    parser.add_argument("--speech-model", default="", help="such as universal-streaming-english; default: the server's")
    parser.add_argument("--language", default="", help="a language code, for servers that choose a model by it")
    arguments = parser.parse_args()
    try:
        sample_rate, samples = read_recording(arguments.audio_file)
        url = session_url(
            arguments.endpoint,
            sample_rate=sample_rate,
            format_turns="true",
            speech_model=arguments.speech_model,
            language=arguments.language,
        )
        asyncio.run(transcribe(url, sample_rate, samples))
    except (ExampleError, ConnectionClosed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        print(f"error: no session at {arguments.endpoint}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
