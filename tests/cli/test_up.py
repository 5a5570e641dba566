"""``streamstack up`` with the real services as processes."""

import asyncio
import os
import signal
import socket
import stat
import sys
import wave
from pathlib import Path

import pytest

from streamstack_cli import exit_codes
from support.scripted_audio import script
from support.stack import StackError, gone, stack

UP = (sys.executable, "-m", "streamstack_cli", "up", "--engine", "null")


async def test_sigterm_stops_every_process_and_removes_the_secrets() -> None:
    async with stack(engine="null") as running:
        services = running.services()
        folder = running.credential_file.parent
        assert services.keys() == {"license-proxy", "asr", "gateway"}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(running.credential_file.stat().st_mode) == 0o600
        credential = running.credential
    # That no process is left and the status is 0 is checked on leaving.
    assert not folder.exists()
    assert credential not in "\n".join(running.log)


async def test_a_service_that_dies_ends_the_stack_and_is_named() -> None:
    async with stack(engine="null", expected_status=exit_codes.FAILED) as running:
        os.kill(running.services()["asr"], signal.SIGKILL)
        await running.ended()
    assert "streamstack: asr ended by signal SIGKILL" in running.log


async def test_services_do_not_outlive_a_parent_that_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A killed process cannot remove its folder.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with stack(engine="null", expected_status=-signal.SIGKILL) as running:
        services = running.services()
        os.kill(running.pid, signal.SIGKILL)
        for pid in services.values():
            await gone(pid)


async def test_standard_output_is_one_line_and_ctrl_c_is_a_good_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # A setting that lies around in the environment would stop every service here.
    monkeypatch.setenv("HOST", "not.a.host.invalid")
    process = await asyncio.create_subprocess_exec(*UP, stdout=-1, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdout is not None
    line = await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert await process.stdout.read() == b""
    assert (line[:1], line[-2:], await process.wait()) == (b"{", b"}\n", exit_codes.OK)


async def test_a_stop_while_services_start_is_a_good_end() -> None:
    process = await asyncio.create_subprocess_exec(*UP, stdout=-1, stderr=-1)
    assert process.stderr is not None
    await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, _ = await process.communicate()
    assert process.returncode == exit_codes.OK


async def test_an_unknown_engine_is_told_in_the_words_of_the_server() -> None:
    with pytest.raises(StackError, match=r"(?s)streamstack: asr ended before it was ready .*'whisper'.*sphinx"):
        async with stack(engine="whisper"):
            pass


async def test_a_port_that_is_taken_is_told_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(*UP, "--gateway-port", str(port), stdout=-1, stderr=-1)
        out, err = await process.communicate()
    assert (process.returncode, out) == (exit_codes.USAGE, b"")
    assert f"port {port} on 127.0.0.1: Address already in use; choose another with --gateway-port" in err.decode()


async def test_the_gateway_takes_the_port_it_was_given(unused_port: int) -> None:
    async with stack(engine="null", gateway_port=unused_port) as running:
        assert running.gateway == f"ws://127.0.0.1:{unused_port}"


@pytest.fixture
def unused_port() -> int:
    # Below the range the kernel chooses from, so that no test beside this one gets it in the meantime.
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port below 32000 is free")


async def test_a_recording_goes_through_the_whole_stack(tmp_path: Path) -> None:
    spoken = script("every word arrives once")
    async with stack(engine="scripted") as running:
        file = tmp_path / "marked.wav"
        with wave.open(str(file), "wb") as recording:
            recording.setparams((1, 2, 16_000, 0, "NONE", ""))
            recording.writeframes(spoken.pcm)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streamstack_cli", "transcribe", str(file), "--endpoint", running.gateway, "--fast",
            stdout=-1, stderr=-1,
        )  # fmt: skip
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (exit_codes.OK, "")
    assert out.decode().lower().replace(".", "").split() == spoken.text.split()
