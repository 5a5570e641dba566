"""The example clients as processes, against a server that says what the test wants."""

import ast
import asyncio
import os
import re
import signal
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from support.streaming_double import BEGIN, Heard, hear, say, streaming_double, two_turns

REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLES = REPOSITORY / "clients/examples"
PRERECORDED = EXAMPLES / "example_with_prerecorded_audio_file.py"
MICROPHONE = EXAMPLES / "example_with_microphone.py"
RECORDING = REPOSITORY / "tests/fixtures/recordings/cards/001.wav"
ALLOWED_MODULES = sys.stdlib_module_names | {"websockets", "sounddevice"}

SILENT_MICROPHONE = """
import threading
class PortAudioError(Exception): pass
class RawInputStream:
    def __init__(self, *, samplerate, blocksize, channels, dtype, callback):
        assert (samplerate, blocksize, channels, dtype) == (16000, 1600, 1, "int16")
        self._callback, self._stopped = callback, threading.Event()
        self._thread = threading.Thread(target=self._run)
    def __enter__(self):
        self._thread.start()
    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()
    def _run(self):
        while not self._stopped.wait(0.01):
            self._callback(memoryview(bytes(3200)), 1600, None, None)
"""
NO_DEVICE = """
class PortAudioError(Exception): pass
def RawInputStream(**_): raise PortAudioError("Error querying device -1")
"""


@dataclass
class Result:
    status: int | None
    out: list[str]
    err: str


async def start(
    example: Path, endpoint: str, *arguments: object, path: Path | None = None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(example), "--endpoint", endpoint, *map(str, arguments), stdout=-1, stderr=-1,
        env={**os.environ, "PYTHONPATH": str(path or "")},
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process) -> Result:
    out, err = await process.communicate()
    return Result(process.returncode, out.decode().splitlines(), err.decode())


async def prerecorded(endpoint: str, *arguments: object) -> Result:
    return await finish(await start(PRERECORDED, endpoint, "--audio-file", RECORDING, *arguments))


async def refuse(websocket: ServerConnection, _heard: Heard) -> None:
    await say(websocket, {"type": "Error", "error_code": 3006, "error": "no such model"})
    await websocket.close(3006, "See Error message for details")


async def test_words_grow_and_turns_land() -> None:
    async with streaming_double() as heard:
        result = await prerecorded(heard.endpoint)
    assert result.status == 0
    assert result.out == [
        "partial: ten", "partial: ten of", "final: Ten of clubs.", "partial: queen", "final: Queen of hearts.",
    ]  # fmt: skip


async def test_the_server_gets_the_recording_and_the_wishes() -> None:
    async with streaming_double() as heard:
        await prerecorded(heard.endpoint, "--speech-model", "u3-rt-pro", "--language", "es")
    with wave.open(str(RECORDING)) as recording:
        assert heard.audio == recording.readframes(recording.getnframes())
    assert {len(chunk) for chunk in heard.chunks[:-1]} == {3_200}
    assert heard.messages == [{"type": "Terminate"}]
    assert (heard.path, heard.authorization) == ("/v3/ws", "self-hosted")
    assert heard.query == {
        "sample_rate": "16000", "format_turns": "true", "speech_model": "u3-rt-pro", "language": "es",
    }  # fmt: skip


async def test_a_refusal_is_told_and_is_no_success() -> None:
    async with streaming_double(refuse) as heard:
        result = await prerecorded(heard.endpoint)
    assert (result.status, result.out) == (1, [])
    assert "error 3006: no such model" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("example", [PRERECORDED, MICROPHONE])
@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("ws://127.0.0.1:1", "error: no session at ws://127.0.0.1:1"),
        ("http://x", "error: --endpoint http://x: expected"),
    ],
)
async def test_an_endpoint_that_cannot_be_used_is_told(
    example: Path, endpoint: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text(SILENT_MICROPHONE)
    result = await finish(await start(example, endpoint, path=tmp_path))
    assert result.status == 1
    assert expected in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(2, 2, "2 channels of 16 bits"), (1, 1, "1 channels of 8 bits")]
)
async def test_another_kind_of_wav_is_refused_with_a_way_to_convert_it(
    tmp_path: Path, channels: int, width: int, expected: str
) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as recording:
        recording.setparams((channels, width, 16_000, 0, "NONE", ""))
        recording.writeframes(bytes(channels * width))
    result = await finish(await start(PRERECORDED, "ws://127.0.0.1:1", "--audio-file", tmp_path / "a.wav"))
    assert result.status == 1
    assert expected in result.err
    assert "ffmpeg" in result.err


@pytest.mark.parametrize("content", [b"", b"ID3 an mp3", None])
async def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    result = await finish(await start(PRERECORDED, "ws://127.0.0.1:1", "--audio-file", tmp_path / "a.wav"))
    assert result.status == 1
    assert "a.wav: " in result.err
    assert "Traceback" not in result.err


async def test_the_microphone_is_streamed_until_ctrl_c_and_the_last_words_still_come(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(SILENT_MICROPHONE)
    async with streaming_double(two_turns) as heard:
        process = await start(MICROPHONE, heard.endpoint, "--language", "en", path=tmp_path)
        await heard.until(lambda: len(heard.chunks) > 2)
        process.send_signal(signal.SIGINT)
        result = await finish(process)
    assert result.status == 0
    assert result.out[-1] == "final: Queen of hearts."
    assert heard.messages == [{"type": "Terminate"}]
    assert heard.query == {"sample_rate": "16000", "format_turns": "true", "language": "en"}
    assert {len(chunk) for chunk in heard.chunks} == {3_200}


async def test_a_session_that_the_server_ends_also_ends_the_microphone(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(SILENT_MICROPHONE)
    async with streaming_double(refuse) as heard:
        result = await finish(await start(MICROPHONE, heard.endpoint, path=tmp_path))
    assert result.status == 1
    assert "error 3006: no such model" in result.err


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("raise ModuleNotFoundError('gone', name='sounddevice')", "install -r requirements-microphone.txt"),
        ("raise OSError('PortAudio library not found')", "PortAudio library not found: install it with"),
        (NO_DEVICE, "no microphone: Error querying device -1"),
    ],
)
async def test_what_the_microphone_lacks_is_told(tmp_path: Path, module: str, expected: str) -> None:
    (tmp_path / "sounddevice.py").write_text(module)
    result = await finish(await start(MICROPHONE, "ws://127.0.0.1:1", path=tmp_path))
    assert result.status == 1
    assert expected in result.err
    assert "Traceback" not in result.err


async def test_other_messages_do_not_disturb_the_example() -> None:
    async def chatty(websocket: ServerConnection, heard: Heard) -> None:
        await say(websocket, BEGIN, {"type": "Heartbeat"}, {"type": "Warning", "warning_code": 1, "warning": "hm"})
        await hear(websocket, heard)
        await say(websocket, {"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1})

    async with streaming_double(chatty) as heard:
        result = await prerecorded(heard.endpoint)
    assert (result.status, result.out) == (0, [])
    assert "warning 1: hm" in result.err


@pytest.mark.parametrize("example", [PRERECORDED, MICROPHONE], ids=lambda path: path.name)
def test_an_example_imports_nothing_of_streamstack(example: Path) -> None:
    tree = ast.parse(example.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= ALLOWED_MODULES


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-microphone.txt"])
def test_requirements_are_pinned_with_hashes_and_name_no_address(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z]+==[\w.]+ ", line) and "--hash=sha256:" in line for line in requirements)
    assert "://" not in text


def test_the_bundled_recording_is_the_one_the_tests_know() -> None:
    original = REPOSITORY / "tests/fixtures/recordings/librivox/sense_and_sensibility_01_austen_64kb-0870.wav"
    assert (EXAMPLES / "recording.wav").read_bytes() == original.read_bytes()
