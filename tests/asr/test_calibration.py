"""An ASR server that takes its slots from a calibration."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamstack_asr import calibration
from streamstack_asr.engines.base import EngineDescription, EngineError
from streamstack_asr.settings import AsrSettings
from streamstack_common import settings as common_settings
from streamstack_common.calibration import CalibrationError
from support.asr_link import link
from support.asr_process import AsrProcess
from support.calibrations import calibration as made
from support.service import service, write_credential

SERVED = EngineDescription(
    engine="nemotron", models=("en",), chunk_ms=560, left_context_ms=0, model="tiny", device="cpu", precision="fp32"
)


@asynccontextmanager
async def server(folder: Path, *flags: str, **environment: str) -> AsyncIterator[AsrProcess]:
    arguments = ("--host", "127.0.0.1", "--server-port", "0", "--internal-port", "0", "--engine", "null", *flags)
    settings = {"STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)), **environment}
    async with service(AsrProcess, "streamstack_asr", *arguments, folder=folder, environment=settings) as process:
        yield process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.json"
    path.write_bytes(made(slots=7).to_json())
    return path


async def slots(process: AsrProcess) -> int:
    await process.announced()
    async with link(process.asr, process.metadata) as client:
        status = await client.wait_for(lambda: client.statuses and client.statuses[0])
        return int(status.slots)


async def test_a_server_has_the_slots_of_its_calibration(tmp_path: Path, file: Path) -> None:
    async with server(tmp_path, CALIBRATION_FILE=str(file)) as process:
        assert await slots(process) == 7


async def test_slots_that_were_given_win_and_the_log_says_so(tmp_path: Path, file: Path) -> None:
    async with server(tmp_path, CALIBRATION_FILE=str(file), MAX_OPEN_STREAMS="3") as process:
        assert await slots(process) == 3
        assert "MAX_OPEN_STREAMS was given: 3 slots, whatever" in process.log


async def test_a_calibration_for_another_chunk_stops_the_server_once_it_knows(tmp_path: Path, file: Path) -> None:
    file.write_bytes(made(chunk_ms=560).to_json())
    async with server(tmp_path, CALIBRATION_FILE=str(file)) as process:
        assert await process.wait() == 1
        assert "the calibration is for chunk_ms 560, and is served 160: expected one of what is served" in process.log


def broken(change: Callable[[dict[str, Any]], None]) -> bytes:
    facts = json.loads(made().to_json())
    change(facts)
    return json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory"),
        (b"", "Invalid JSON"),
        (b"{}", "engine: Field required"),
        (broken(lambda facts: facts.update(slots=0)), "slots: Input should be greater than or equal to 1"),
        (broken(lambda facts: facts.update(slots=10)), "slots 10: expected at most the capacity, 9"),
        (broken(lambda facts: facts.update(version=2)), "version: Input should be 1"),
        (broken(lambda facts: facts.update(engine="sphinx")), "is for engine 'sphinx': expected one for 'null'"),
        (b" " * (2 << 20), "expected at most 1048576 bytes"),
    ],
)
async def test_a_file_that_cannot_be_used_is_told_and_nothing_starts(
    tmp_path: Path, file: Path, content: bytes | None, expected: str
) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    async with server(tmp_path, CALIBRATION_FILE=str(file)) as process:
        assert await process.wait() == 2
        assert f"configuration: {file}" in process.log
        assert expected in process.log


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"model": "large"}, "for model 'large', and is served 'tiny'"),
        ({"device": "NVIDIA H200"}, "for device 'NVIDIA H200', and is served 'cpu'"),
        ({"precision": "bf16"}, "for precision 'bf16', and is served 'fp32'"),
        ({"chunk_ms": 160, "precision": "bf16"}, "'bf16', and is served 'fp32'; chunk_ms 160, and is served 560"),
    ],
)
def test_what_differs_from_what_is_served_is_named(facts: dict[str, Any], expected: str) -> None:
    same = {"engine": "nemotron", "model": "tiny", "device": "cpu", "precision": "fp32", "chunk_ms": 560}
    calibration.check(made(**same), SERVED)
    with pytest.raises(EngineError, match=expected):
        calibration.check(made(**{**same, **facts}), SERVED)


def test_without_a_file_the_settings_are_as_they_were(tmp_path: Path) -> None:
    arguments = ["--credential-file", str(write_credential(tmp_path))]
    settings = common_settings.load(AsrSettings, arguments)
    assert calibration.read(settings) is None
    assert calibration.with_slots(settings, None).max_open_streams == 32
    calibration.check(None, SERVED)


@pytest.mark.parametrize("flags", [["--max-open-streams", "32"], []])
def test_the_default_itself_can_be_given(tmp_path: Path, file: Path, flags: list[str]) -> None:
    file.write_bytes(made(engine="sphinx").to_json())
    arguments = ["--credential-file", str(write_credential(tmp_path)), "--calibration-file", str(file), *flags]
    settings = common_settings.load(AsrSettings, arguments)
    assert calibration.with_slots(settings, calibration.read(settings)).max_open_streams == (32 if flags else 7)


def test_a_calibration_of_another_engine_is_refused_before_anything_is_loaded(tmp_path: Path, file: Path) -> None:
    arguments = ["--credential-file", str(write_credential(tmp_path)), "--calibration-file", str(file)]
    with pytest.raises(CalibrationError, match="is for engine 'null': expected one for 'sphinx'"):
        calibration.read(common_settings.load(AsrSettings, arguments))
