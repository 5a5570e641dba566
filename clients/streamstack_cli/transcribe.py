"""``streamstack transcribe``: a recording through a streaming endpoint, its words to standard output."""

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from streamstack_cli import exit_codes, v3, wav
from streamstack_cli.transcript_view import TranscriptView, printable

CHUNK_MS = 100
CONNECT_SECONDS = 10.0
FINISH_SECONDS = 60.0
"""How long the last words may take after the last audio: a server that starts again mid-session hears it anew."""


class SessionError(Exception):
    """The session did not end well; the message is for people."""


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """A WAV ``file`` and where to send it; in real time, or as ``fast`` as the server takes it."""

    file: Path
    endpoint: str
    authorization: str = v3.SELF_HOSTED
    speech_model: str | None = None
    language: str | None = None
    fast: bool = False


def transcribe(options: TranscribeOptions) -> int:
    """Stream a recording and print its words; the exit status."""
    try:
        recording = wav.read(options.file)
        url = v3.session_url(
            options.endpoint,
            sample_rate=recording.sample_rate,
            encoding=recording.encoding,
            speech_model=options.speech_model,
            language=options.language,
        )
    except (wav.RecordingError, v3.EndpointError) as error:
        return _failed(exit_codes.USAGE, str(error))
    return asyncio.run(_run(recording, url, options))


async def _run(recording: wav.Recording, url: str, options: TranscribeOptions) -> int:
    try:
        websocket = await connect(
            url,
            additional_headers={"Authorization": options.authorization},
            open_timeout=CONNECT_SECONDS,
            proxy=None if v3.is_loopback(url) else True,
        )
    except InvalidURI as error:
        return _failed(exit_codes.USAGE, str(error))
    except (OSError, TimeoutError, InvalidHandshake) as error:
        return _failed(exit_codes.UNREACHABLE, f"no session at {options.endpoint}: {error or 'no answer in time'}")
    async with websocket:
        try:
            await _session(websocket, recording, fast=options.fast)
        except SessionError as error:
            return _failed(exit_codes.SESSION_ENDED, str(error))
        except v3.ProtocolError as error:
            return _failed(exit_codes.SESSION_ENDED, f"{options.endpoint} does not speak the streaming API: {error}")
    return exit_codes.OK


async def _session(websocket: ClientConnection, recording: wav.Recording, *, fast: bool) -> None:
    """Send and receive until the server has closed. Raises SessionError and ProtocolError."""
    sender = asyncio.create_task(_send(websocket, recording, fast=fast))
    receiver = asyncio.create_task(_receive(websocket))
    try:
        await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        if sender.done():
            sender.result()
            async with asyncio.timeout(FINISH_SECONDS):
                await receiver
        else:
            receiver.result()
    except TimeoutError as error:
        raise SessionError(f"no end of the session within {FINISH_SECONDS:g} seconds of the last audio") from error
    finally:
        sender.cancel()
        receiver.cancel()
        await asyncio.gather(sender, receiver, return_exceptions=True)


async def _send(websocket: ClientConnection, recording: wav.Recording, *, fast: bool) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    try:
        for chunk in recording.chunks(CHUNK_MS):
            if not fast:
                # A chunk exists once its last sample has been spoken; pauses of this process do not add up.
                due += CHUNK_MS / 1000
                await asyncio.sleep(due - loop.time())
            await websocket.send(chunk)
        await websocket.send(v3.TERMINATE)
    except ConnectionClosed:
        # The receiver knows why.
        return


async def _receive(websocket: ClientConnection) -> None:
    view = TranscriptView(formatted=True)
    terminated = False
    try:
        async for text in websocket:
            message = v3.parse(text)
            terminated = terminated or isinstance(message, v3.Termination)
            _show(message, view)
    except ConnectionClosed:
        # The close code below tells more.
        pass
    finally:
        _write(view.finish())
    code = websocket.close_code or 1006
    if code != v3.NORMAL_CLOSE or not terminated:
        raise SessionError(v3.closed(code, printable(websocket.close_reason or "")))


def _show(message: v3.Message, view: TranscriptView) -> None:
    match message:
        case v3.Turn():
            _write(view.turn(message, columns=_columns()))
        case v3.Problem(code=code, message=text, fatal=fatal):
            _write(view.finish())
            _say(f"{'error' if fatal else 'warning'} {code}: {printable(text)}")
        case _:
            pass


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _say(message: str) -> None:
    sys.stderr.write(f"streamstack: {message}\n")


def _failed(status: int, message: str) -> int:
    _say(message)
    return status
