"""A model is calibrated, and a stack takes its slots from what was found."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from streamstack_common import calibration
from support.cli import streamstack
from support.service import call
from support.stack import RunningStack, StackError, stack
from support.tiny_model import MODEL

pytestmark = pytest.mark.nemotron

MODEL_ARGUMENTS = ("--engine", "nemotron", "--model", MODEL, "--device", "cpu", "--precision", "fp32")


def served(file: Path, *, chunk_ms: int) -> AbstractAsyncContextManager[RunningStack]:
    return stack("nemotron", model=MODEL, device="cpu", precision="fp32", chunk_ms=chunk_ms, calibration=file)


async def test_a_stack_has_the_slots_of_its_models_calibration_and_refuses_anothers(tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    brief = ("--seconds", "0.96", "--settle-seconds", "0.3", "--latency-ms", "60000", "--late-percent", "100")
    ran = await streamstack(
        *("calibrate", *MODEL_ARGUMENTS, "--chunk-ms", "320", "--max-sessions", "3"),
        *(*brief, "--start", "3", "--margin", "0.7", "--output", output),
    )
    assert ran.status == 0, ran.err
    found = calibration.read(output)
    assert (found.engine, found.model, found.device, found.precision) == ("nemotron", "tiny", "cpu", "fp32")
    assert (found.chunk_ms, found.capacity, found.slots) == (320, 3, 2)
    async with served(output, chunk_ms=320) as running:
        _, report = await call(f"{running.asr_internal}/sessions", token=running.credential)
        assert report["capacity"] == 2
    with pytest.raises(StackError, match="the calibration is for chunk_ms 320, and is served 160"):
        async with served(output, chunk_ms=160):
            pass
