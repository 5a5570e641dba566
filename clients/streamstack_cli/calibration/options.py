"""What ``streamstack calibrate`` can be told."""

from dataclasses import dataclass
from pathlib import Path

from streamstack_cli.stack import StackOptions
from streamstack_common.calibration import Target


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that runs already: ``host:port`` of its gRPC port, and how to get in."""

    address: str
    credential_file: Path
    tls: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server to start, as ``streamstack up`` would; its slots are the most sessions that are tried."""

    stack: StackOptions
    ready_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """One calibration; ``audio`` None is the recording that comes with the examples."""

    server: RunningServer | OwnServer
    target: Target
    audio: Path | None
    output: Path
    start: int
    max_sessions: int
    max_seconds: float
    resolution: float
    settle_seconds: float
    seconds: float
    turn_seconds: float
    margin: float
