#!/usr/bin/env python3
"""Streams the microphone to a streaming speech-to-text endpoint and shows what is heard, until Ctrl-C.

    python example_with_microphone.py --endpoint ws://localhost:8080

Stands alone: needs Python 3.11, `websockets`, and `sounddevice` with the PortAudio library. Start reading at
`transcribe`.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

SAMPLE_RATE = 16_000
CHUNK_MS = 100  # the API takes 50 to 1000 ms a message
HEADERS = {"Authorization": "self-hosted"}  # every session of a self-hosted stack needs it


class ExampleError(Exception):
    """Something the user can do something about."""


@contextlib.asynccontextmanager
async def microphone() -> AsyncIterator["asyncio.Queue[bytes]"]:
    """Queue that chunks of mono 16-bit samples come into while the context is open."""
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ExampleError(
            f"no module {error.name}: install it with: pip install -r requirements-microphone.txt"
        ) from error
    except OSError as error:
        raise ExampleError(f"{error}: install it with: sudo apt-get install libportaudio2") from error
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def captured(samples: Any, _frames: int, _time: Any, _status: Any) -> None:
        # Runs in a thread of PortAudio's.
        loop.call_soon_threadsafe(chunks.put_nowait, bytes(samples))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE,
            blocksize=SAMPLE_RATE * CHUNK_MS // 1000,
            channels=1,
            dtype="int16",
            callback=captured,
        )
    except sounddevice.PortAudioError as error:
        raise ExampleError(f"no microphone: {error}") from error
    with stream:
        yield chunks


def session_url(endpoint: str, **parameters: object) -> str:
    """Address of a session: the endpoint, /v3/ws unless it has a path, and the parameters that were given."""
    if not endpoint.startswith(("ws://", "wss://")):
        raise ExampleError(f"--endpoint {endpoint}: expected ws://HOST:PORT or wss://HOST")
    path = "" if urlsplit(endpoint).path.strip("/") else "/v3/ws"
    given = {name: value for name, value in parameters.items() if value}
    return f"{endpoint.rstrip('/')}{path}?{urlencode(given)}"


async def send_audio(websocket: ClientConnection, chunks: "asyncio.Queue[bytes]", stop: asyncio.Event) -> None:
    """Send what the microphone hears until ``stop``, then ask for the end."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        chunk = asyncio.create_task(chunks.get())
        await asyncio.wait({chunk, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if chunk.done():
            await websocket.send(chunk.result())
        else:
            chunk.cancel()
    await websocket.send(json.dumps({"type": "Terminate"}))


async def receive(websocket: ClientConnection) -> None:
    """Show messages until the server closes; every message is a JSON object with a type."""
    async for text in websocket:
        message = json.loads(text)
        match message["type"]:
            case "Begin":
                print("listening; Ctrl-C ends", file=sys.stderr)
            case "Turn" if message["end_of_turn"]:
                show("final", message["transcript"])
            case "Turn":
                show("partial", " ".join(word["text"] for word in message["words"]))
            case "Error":
                print(f"error {message['error_code']}: {message['error']}", file=sys.stderr)
            case "Warning":
                print(f"warning {message['warning_code']}: {message['warning']}", file=sys.stderr)
            case _:
                pass


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


async def transcribe(url: str) -> None:
    """Run a session: send and receive at the same time, until Ctrl-C and the last words."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    direct = "//localhost" in url or "//127." in url
    async with (
        microphone() as chunks,
        connect(url, additional_headers=HEADERS, proxy=None if direct else True) as websocket,
    ):
        sending = asyncio.create_task(send_audio(websocket, chunks, stop))
        try:
            await receive(websocket)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if websocket.close_code != 1000:
            raise ExampleError(f"the server closed the session: {websocket.close_code} {websocket.close_reason}")


def main() -> int:
    """Read the arguments and run one session; the exit status."""
    parser = argparse.ArgumentParser(description="Streams the microphone and shows what is heard, until Ctrl-C.")
    parser.add_argument("--endpoint", default="ws://localhost:8080")
    parser.add_argument("--language", default="", help="a language code, for servers that choose a model by it")
    arguments = parser.parse_args()
    try:
        url = session_url(arguments.endpoint, sample_rate=SAMPLE_RATE, format_turns="true", language=arguments.language)
        asyncio.run(transcribe(url))
    except (ExampleError, ConnectionClosed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        print(f"error: no session at {arguments.endpoint}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
