"""``streamstack transcribe`` against a server that says what the test wants, over real sockets."""

import asyncio
import os
import pty
import signal
import struct
import sys
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from streamstack_cli import exit_codes, v3, wav
from streamstack_cli import transcribe as command
from support.streaming_double import BEGIN, TERMINATION, Heard, hear, say, streaming_double, turn

RECORDING = Path(__file__).parent.parent / "fixtures/recordings/cards/001.wav"
COMMAND = (sys.executable, "-m", "streamstack_cli", "transcribe")
NOBODY = "ws://127.0.0.1:1"


@dataclass
class Result:
    status: int
    out: str
    err: str


async def transcribe(endpoint: str, *arguments: str, file: Path = RECORDING) -> Result:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, str(file), "--endpoint", endpoint, *arguments, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def test_finished_turns_are_lines_on_a_pipe() -> None:
    async with streaming_double() as heard:
        result = await transcribe(heard.endpoint, "--fast")
    assert result == Result(exit_codes.OK, "Ten of clubs.\nQueen of hearts.\n", "")


async def test_the_server_gets_all_audio_in_chunks_it_takes_and_then_the_wish_to_end() -> None:
    async with streaming_double() as heard:
        await transcribe(heard.endpoint, "--fast", "--speech-model", "u3-rt-pro", "--language", "es")
    assert heard.audio == wav.read(RECORDING).data
    assert {len(chunk) for chunk in heard.chunks[:-1]} == {3_200}
    assert heard.messages == [{"type": "Terminate"}]
    assert (heard.path, heard.authorization) == ("/v3/ws", "self-hosted")
    assert heard.query == {
        "sample_rate": "16000", "encoding": "pcm_s16le", "format_turns": "true", "speech_model": "u3-rt-pro",
        "language": "es",
    }  # fmt: skip


async def test_mulaw_goes_out_as_it_is(tmp_path: Path) -> None:
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, 8_000, 8_000, 1, 8)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", 800) + b"\xff" * 800
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    async with streaming_double() as heard:
        result = await transcribe(heard.endpoint, "--fast", file=tmp_path / "a.wav")
    assert result.status == exit_codes.OK
    assert heard.query["encoding"] == "pcm_mulaw"
    assert heard.audio == b"\xff" * 800


async def test_words_appear_while_they_are_heard_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    async with streaming_double() as heard:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, str(RECORDING), "--endpoint", heard.endpoint, "--fast", stdout=theirs
        )
        os.close(theirs)
        status = await process.wait()
    # What the terminal got lies in the kernel's buffer; it is far smaller than that.
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert status == exit_codes.OK
    assert shown == ("\r\x1b[Kten\r\x1b[Kten of\r\x1b[KTen of clubs.\r\n\r\x1b[Kqueen\r\x1b[KQueen of hearts.\r\n")


async def test_audio_goes_out_no_faster_than_it_was_spoken() -> None:
    clock = asyncio.get_running_loop()
    async with streaming_double() as heard:
        started = clock.time()
        await transcribe(heard.endpoint)
        lasted_seconds = clock.time() - started
    # A bound from below: a slow machine cannot break it.
    assert lasted_seconds >= wav.read(RECORDING).duration_seconds


async def refuse(websocket: ServerConnection, _heard: Heard) -> None:
    await say(websocket, {"type": "Error", "error_code": 3009, "error": "Too many concurrent sessions\x1b[2J"})
    await websocket.close(3009, "See Error message for details")


async def test_an_error_of_the_server_is_told_and_the_status_says_so() -> None:
    async with streaming_double(refuse) as heard:
        result = await transcribe(heard.endpoint, "--fast")
    assert result.status == exit_codes.SESSION_ENDED
    assert result.err.splitlines() == [
        "streamstack: error 3009: Too many concurrent sessions [2J",
        "streamstack: too many sessions, try again later (close code 3009: See Error message for details)",
    ]


async def test_a_warning_is_told_and_nothing_ends() -> None:
    async def warn(websocket: ServerConnection, heard: Heard) -> None:
        await say(websocket, BEGIN, {"type": "Warning", "warning_code": 4, "warning": "no such option"})
        await hear(websocket, heard)
        await say(websocket, TERMINATION)

    async with streaming_double(warn) as heard:
        result = await transcribe(heard.endpoint, "--fast")
    assert result == Result(exit_codes.OK, "", "streamstack: warning 4: no such option\n")


async def test_a_connection_that_is_lost_keeps_the_turns_it_brought() -> None:
    async def lose(websocket: ServerConnection, _heard: Heard) -> None:
        await say(websocket, BEGIN, turn("Ten of clubs.", end=True))
        await websocket.recv()
        websocket.transport.abort()

    async with streaming_double(lose) as heard:
        result = await transcribe(heard.endpoint)
    assert result == Result(
        exit_codes.SESSION_ENDED, "Ten of clubs.\n", "streamstack: the connection was lost (close code 1006)\n"
    )


async def test_an_end_without_termination_is_no_success() -> None:
    async def leave(websocket: ServerConnection, _heard: Heard) -> None:
        await say(websocket, BEGIN)

    async with streaming_double(leave) as heard:
        result = await transcribe(heard.endpoint, "--fast")
    assert (result.status, result.out) == (exit_codes.SESSION_ENDED, "")
    assert "close code 1000" in result.err


async def test_a_server_of_another_kind_is_recognised() -> None:
    async def chat(websocket: ServerConnection, _heard: Heard) -> None:
        await websocket.send("hello")
        await websocket.wait_closed()

    async with streaming_double(chat) as heard:
        result = await transcribe(heard.endpoint, "--fast")
    assert result.status == exit_codes.SESSION_ENDED
    assert "does not speak the streaming API" in result.err
    assert "hello" not in result.err


async def test_a_refused_upgrade_is_told_with_its_status() -> None:
    def unavailable(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")

    async def never(_websocket: ServerConnection) -> None:
        raise AssertionError("the upgrade was refused")

    async with serve(never, "127.0.0.1", 0, process_request=unavailable) as server:
        result = await transcribe(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert result.status == exit_codes.UNREACHABLE
    assert "HTTP 503" in result.err


async def test_an_endpoint_where_nobody_listens_is_unreachable() -> None:
    result = await transcribe(NOBODY)
    assert result.status == exit_codes.UNREACHABLE
    assert f"no session at {NOBODY}" in result.err


async def test_a_file_that_cannot_be_streamed_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"ID3")
    result = await transcribe(NOBODY, file=tmp_path / "a.mp3")
    assert result.status == exit_codes.USAGE
    assert "a.mp3: not a WAV file" in result.err


async def test_an_endpoint_that_is_none_is_refused() -> None:
    result = await transcribe("https://localhost")
    assert result.status == exit_codes.USAGE
    assert "expected ws://HOST:PORT" in result.err


async def test_ctrl_c_ends_it_with_the_status_of_shells() -> None:
    async with streaming_double() as heard:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, str(RECORDING), "--endpoint", heard.endpoint, stdout=-1, stderr=-1
        )
        await heard.until(lambda: heard.chunks)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (exit_codes.INTERRUPTED, b"")


async def test_a_server_that_never_ends_the_session_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stay(websocket: ServerConnection, heard: Heard) -> None:
        await say(websocket, BEGIN)
        await hear(websocket, heard)
        await websocket.wait_closed()

    monkeypatch.setattr(command, "FINISH_SECONDS", 0.1)
    recording = wav.read(RECORDING)
    async with streaming_double(stay) as heard:
        options = command.TranscribeOptions(file=RECORDING, endpoint=heard.endpoint, fast=True)
        url = v3.session_url(heard.endpoint, sample_rate=recording.sample_rate, encoding=recording.encoding)
        status = await command._run(recording, url, options)
    assert status == exit_codes.SESSION_ENDED
    assert "no end of the session within 0.1 seconds" in capsys.readouterr().err
