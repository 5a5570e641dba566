"""``streamstack calibrate`` as a person runs it, against real servers."""

import asyncio
import json
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main
from streamstack_common import calibration
from streamstack_common.calibration import Calibration
from support.asr_process import AsrProcess, asr_process
from support.cli import streamstack
from support.stack import gone, processes

BRIEF = ("--seconds", "0.64", "--settle-seconds", "0.3", "--turn-seconds", "0.4")
ANYTHING_GOES = ("--latency-ms", "60000", "--late-percent", "100")
NOTHING_DOES = ("--latency-ms", "0.000001")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "calibration.json"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AsrProcess]:
    async with asr_process(tmp_path, engine="null", slots=3) as process:
        yield process


def of(server: AsrProcess) -> tuple[str | Path, ...]:
    return ("calibrate", "--asr", server.asr, "--credential-file", server.credential_file, *BRIEF)


def found(output: Path) -> Calibration:
    return calibration.read(output)


async def test_a_server_is_started_and_what_it_carries_is_written_and_told(output: Path) -> None:
    ran = await streamstack(
        "calibrate", "--engine", "null", "--max-sessions", "5", *BRIEF, *ANYTHING_GOES, "--output", output
    )
    assert ran.status == exit_codes.OK, ran.err
    made = found(output)
    assert (made.engine, made.chunk_ms, made.capacity, made.slots, made.limited_by) == ("null", 160, 5, 4, "sessions")
    assert [level.sessions for level in made.levels] == [1, 2, 4, 5, 5]
    assert all(level.chunks == 4 * level.sessions for level in made.levels)
    assert made.levels[-1].turn_end_p95_ms is not None
    assert "    slots: 4\n" in ran.out
    assert "    MAX_OPEN_STREAMS=4\n" in ran.out
    assert f"    CALIBRATION_FILE={output}\n" in ran.out
    assert sum(" sessions: p50 " in line for line in ran.err.splitlines()) == len(made.levels)
    assert output.stat().st_mode & 0o777 == 0o644


async def test_a_server_that_runs_already_is_tried_up_to_its_slots(server: AsrProcess, output: Path) -> None:
    ran = await streamstack(*of(server), *ANYTHING_GOES, "--output", output)
    assert ran.status == exit_codes.OK, ran.err
    assert "the server has 3 free slots: no more sessions are tried" in ran.err
    made = found(output)
    assert (made.capacity, made.limited_by) == (3, "sessions")
    assert "capacity 3 sessions at least: more were not tried" in ran.out
    assert server.token not in output.read_text() + ran.out + ran.err


async def test_when_not_even_one_session_is_in_time_nothing_is_written(server: AsrProcess, output: Path) -> None:
    output.write_text("of last week")
    ran = await streamstack(*of(server), *NOTHING_DOES, "--output", output)
    assert (ran.status, ran.out, output.read_text()) == (exit_codes.FAILED, "", "of last week")
    assert "not met: p95" in ran.err
    assert "not one count of sessions met the target: nothing is written" in ran.err


async def test_an_earlier_calibration_is_replaced(server: AsrProcess, output: Path) -> None:
    output.write_text("of last week")
    ran = await streamstack(*of(server), *ANYTHING_GOES, "--start", "3", "--margin", "0.1", "--output", output)
    assert ran.status == exit_codes.OK, ran.err
    assert (found(output).slots, found(output).margin) == (1, 0.1)
    assert list(output.parent.glob(".calibration*")) == []


async def test_the_search_ends_in_time_and_says_that_this_ended_it(server: AsrProcess, output: Path) -> None:
    ran = await streamstack(*of(server), *ANYTHING_GOES, "--max-minutes", "0.00001", "--output", output)
    assert (ran.status, "nothing is written" in ran.err) == (exit_codes.FAILED, True)
    # Room for one level, were all of its answers late, and not for two.
    slow = ("--latency-ms", "1000", "--late-percent", "100", "--max-minutes", "0.04")
    ran = await streamstack(*of(server), *slow, "--output", output)
    assert ran.status == exit_codes.OK, ran.err
    assert found(output).limited_by == "time"
    assert "capacity 1 sessions at least: the time was over" in ran.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_leaves_no_process_and_no_file(output: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", "calibrate", "--engine", "null", *BRIEF, "--output", output),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b" sessions: " not in (line := await process.stderr.readline()):
        assert line, "it ended before its first level"
    servers = [pid for pid, (parent, _) in processes().items() if parent == process.pid]
    assert servers
    process.send_signal(number)
    await process.communicate()
    assert process.returncode == exit_codes.INTERRUPTED
    for pid in servers:
        await gone(pid)
    assert not output.exists()


async def test_a_server_that_dies_meanwhile_is_named(output: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", "calibrate", "--engine", "null", *BRIEF, "--output", output),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b" sessions: " not in (line := await process.stderr.readline()):
        assert line, "it ended before its first level"
    for pid, (parent, _) in processes().items():
        if parent == process.pid:
            os.kill(pid, signal.SIGKILL)
    _, err = await process.communicate()
    assert process.returncode == exit_codes.FAILED
    assert b"streamstack: asr ended by signal SIGKILL" in err


async def test_a_server_that_does_not_start_is_told_in_its_own_words(output: Path) -> None:
    ran = await streamstack("calibrate", "--engine", "whisper", "--output", output)
    assert ran.status == exit_codes.FAILED
    assert "asr ended before it was ready" in ran.err
    assert "'whisper'" in ran.err


async def test_nobody_there_and_a_wrong_credential_are_told(server: AsrProcess, tmp_path: Path, output: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x" * 32 + "\n")
    nobody = await streamstack("calibrate", "--asr", "127.0.0.1:1", "--credential-file", other, "--output", output)
    assert (nobody.status, "127.0.0.1:1: UNAVAILABLE" in nobody.err) == (exit_codes.UNREACHABLE, True)
    wrong = await streamstack("calibrate", "--asr", server.asr, "--credential-file", other, "--output", output)
    assert (wrong.status, "UNAUTHENTICATED" in wrong.err) == (exit_codes.UNREACHABLE, True)


def test_what_cannot_be_read_or_written_is_told_before_anything_starts(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = tmp_path / "slow.wav"
    with wave.open(str(slow), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    for arguments, expected in (
        (("--audio", slow), "pcm_s16le at 8000 Hz: expected pcm_s16le at 16000 Hz"),
        (("--audio", tmp_path / "none.wav"), "No such file"),
        (("--output", tmp_path / "nowhere" / "file"), "cannot be written"),
        (("--output", tmp_path), "cannot be written"),
        (("--asr", "127.0.0.1:1", "--credential-file", tmp_path / "none"), "credential file"),
        (("--asr", "127.0.0.1:1", "--credential-file", slow, "--ca-file", tmp_path / "none"), "no such file"),
    ):
        status = main(["calibrate", "--output", str(output), *map(str, arguments)])
        said = capsys.readouterr()
        assert (status, said.out) == (exit_codes.USAGE, ""), said.err
        assert expected in said.err
        assert "starting a server" not in said.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--asr", "somewhere", "--credential-file", "x"], "--asr: 'somewhere': expected HOST:PORT"),
        (["--asr", "h:1"], "--asr: expected --credential-file"),
        (["--asr", "h:1", "--credential-file", "x", "--model", "y"], "--model is for a server that is started here"),
        (["--credential-file", "x"], "--credential-file is for a server that --asr names"),
        (["--tls"], "--tls is for a server that --asr names"),
        (["--percentile", "100"], "expected a percentage above 0 and below 100"),
        (["--late-percent", "-1"], "expected a percentage from 0 to 100"),
        (["--late-percent", "nan"], "expected a percentage from 0 to 100"),
        (["--margin", "0"], "expected a share above 0, at most 1"),
        (["--margin", "1.1"], "expected a share above 0, at most 1"),
        (["--max-sessions", "0"], "expected at least 1"),
        (["--seconds", "0"], "expected a number of seconds above 0"),
        (["--turn-seconds", "-1"], "expected a number of seconds, or 0"),
        (["--set", "gateway"], "expected SERVICE.NAME=VALUE"),
        (["--engine", "null", "--chunk-ms", "80"], "--chunk-ms: engine null has no such choice"),
        (["--engine", "nemotron"], "--model: engine nemotron needs a folder"),
    ],
)
def test_arguments_that_cannot_work_are_refused(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", *arguments])
    assert expected in capsys.readouterr().err


async def test_the_file_says_everything_that_was_measured(server: AsrProcess, output: Path) -> None:
    await streamstack(*of(server), *ANYTHING_GOES, "--output", output)
    facts = json.loads(output.read_text())
    assert facts["version"] == 1
    assert facts["target"] == {"percentile": 95.0, "latency_ms": 60000.0, "late_chunk_rate": 1.0}
    assert facts["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["latency"].keys() == {"p50_ms", "p95_ms", "p99_ms"}
    assert facts["levels"][0].keys() >= {"sessions", "met", "chunks", "latency", "late_chunk_rate", "driver_lag_p99_ms"}
