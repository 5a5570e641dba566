"""What ``streamstack calibrate`` found out, as a file: the command writes it, an ASR server reads it."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_FILE_BYTES: Final = 1 << 20
"""A file holds some kilobytes: a line for each count of sessions that was tried."""

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class CalibrationError(ValueError):
    """A calibration file cannot be used; the message names the file, what was wrong and what was expected."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Fact):
    """What every session is to get."""

    percentile: float = Field(gt=0, lt=100)
    latency_ms: float = Field(gt=0, allow_inf_nan=False)
    late_chunk_rate: Share


class Latency(_Fact):
    """From when a chunk's last sample was due to be sent to when its hypothesis arrived, milliseconds."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds


class Level(_Fact):
    """One measurement: so many sessions at once.

    A chunk is late when its hypothesis came more than one chunk's length after the chunk's last sample, or not at all.
    ``driver_lag_p99_ms`` is how late the measuring side sent; ``reason`` says why the level was not met.
    """

    sessions: int = Field(ge=1)
    met: bool
    chunks: int = Field(ge=0)
    latency: Latency | None
    late_chunk_rate: Share
    turn_end_p95_ms: Milliseconds | None
    driver_lag_p99_ms: Milliseconds
    reason: str = ""


class Machine(_Fact):
    """Where it was measured."""

    processor: str
    cores: int = Field(ge=1)
    memory_bytes: int = Field(ge=0)
    system: str


class Calibration(_Fact):
    """The most sessions that met the target.

    ``device``, ``precision`` and ``model`` are the server's own words for what it ran; empty where it has none.
    ``limited_by`` says what ended the search: ``target`` is what a machine can do, the others are bounds of the search.
    ``slots`` is ``capacity`` less a margin.
    """

    version: Literal[1] = 1
    made_at: datetime
    engine: str = Field(min_length=1)
    model: str
    device: str
    precision: str
    chunk_ms: int = Field(ge=1)
    machine: Machine
    target: Target
    capacity: int = Field(ge=1)
    margin: float = Field(gt=0, le=1)
    slots: int = Field(ge=1)
    limited_by: Literal["target", "sessions", "time"]
    latency: Latency
    late_chunk_rate: Share
    levels: tuple[Level, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.slots > self.capacity:
            raise ValueError(f"slots {self.slots}: expected at most the capacity, {self.capacity}")
        return self

    def to_json(self) -> bytes:
        """Return the file's content."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read(path: Path) -> Calibration:
    """Read a calibration file. Raises CalibrationError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise CalibrationError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, as `streamstack calibrate` writes")
    try:
        return Calibration.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)[:5]
        )
        raise CalibrationError(f"{path}: {problems}; expected a file of `streamstack calibrate`") from None
