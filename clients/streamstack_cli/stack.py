"""What a stack on one machine consists of: a pure list of processes with their environments, no I/O.

Names of settings are those of the services (``streamstack_gateway.settings`` and its like): the services are other
processes, often other versions, so nothing of theirs is imported here.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LICENSE_PROXY: Final = "license-proxy"
ASR: Final = "asr"
GATEWAY: Final = "gateway"
SERVICES: Final = (LICENSE_PROXY, ASR, GATEWAY)

LOOPBACK: Final = "127.0.0.1"
POOL: Final = "english"
MODEL: Final = "en-default"
"""The routing name of English streaming, the model of clients that name none."""

ENGINES_WITH_A_MODEL: Final = frozenset({"nemotron"})
"""Engines that read their weights from a folder; the others bring what they need."""

STOP_GRACE_SECONDS: Final = 5.0
"""How long live sessions may go on after a stop: on one machine somebody waits for the prompt."""

_INHERITED: Final = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER",
     "VIRTUAL_ENV"}
)  # fmt: skip
_INHERITED_PREFIXES: Final = (
    "LC_", "PYTHON", "LD_", "CUDA_", "NVIDIA_", "HF_", "TORCH", "TRITON_", "OMP_", "MKL_", "OPENBLAS_", "COVERAGE_"
)  # fmt: skip


class OptionsError(ValueError):
    """Options of a stack that cannot work; the message names the option and what was expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting handed to one service as it is: ``gateway.BUFFER_MEGABYTES=64``."""

    service: str
    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Parse ``service.NAME=value``. Raises OptionsError."""
        place, equals, value = text.partition("=")
        service, _, name = place.partition(".")
        if not equals or service not in SERVICES or not name.isidentifier():
            raise OptionsError(f"{text!r}: expected SERVICE.NAME=VALUE with one of the services {', '.join(SERVICES)}")
        return cls(service, name, value)


SPHINX_SESSIONS_PER_CORE = 5
"""In real time, measured (docs/benchmarks.md); with more, all of them fall behind."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What ``streamstack up`` can be told; None leaves the service's own default.

    ``gateway_port`` 0 lets the kernel choose. Raises OptionsError when options contradict each other.
    """

    engine: str = "sphinx"
    model: Path | None = None
    device: str | None = None
    precision: str | None = None
    chunk_ms: int | None = None
    calibration: Path | None = None
    gateway_port: int = 0
    slots: int | None = None
    capacity: int | None = None
    max_sessions: int | None = None
    max_session_seconds: int | None = None
    asr_wait_seconds: float | None = None
    stop_grace_seconds: float = STOP_GRACE_SECONDS
    log_level: str = "INFO"
    structured_logs: bool = False
    settings: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is said of a model where no engine would read one."""
        if self.engine in ENGINES_WITH_A_MODEL:
            return
        expected = ", ".join(sorted(ENGINES_WITH_A_MODEL))
        if self.model is not None:
            raise OptionsError(f"--model: engine {self.engine} reads no model folder; engines that do: {expected}")
        chosen = {"--device": self.device, "--precision": self.precision, "--chunk-ms": self.chunk_ms}
        for flag, value in chosen.items():
            if value is not None:
                raise OptionsError(f"{flag}: engine {self.engine} has no such choice; engines that have: {expected}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Files of one run, in a folder of mode 0700 that goes when the run ends."""

    credential_file: Path
    token_key_file: Path
    license_file: Path
    keys_file: Path
    state_dir: Path


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A service as a process: it is ready when it has announced addresses under the names ``announces``."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    announces: frozenset[str]


def inherited_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a service may inherit.

    Settings are read from the environment, some under names as common as ``HOST`` or ``PORT``, so only what an
    interpreter and its libraries need is passed on.
    """
    return {
        name: value for name, value in environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }


def license_proxy(options: StackOptions, folder: RunFolder, environ: Mapping[str, str]) -> ProcessSpec:
    """Describe the license proxy."""
    settings = {
        "HOST": LOOPBACK,
        "HTTP_PORT": "0",
        "LICENSE_FILE_PATH": str(folder.license_file),
        "LICENSE_EXTRA_KEYS_FILE": str(folder.keys_file),
    }
    return _service(LICENSE_PROXY, settings, options, folder, environ, announces={"license_proxy"})


def asr(options: StackOptions, folder: RunFolder, environ: Mapping[str, str]) -> ProcessSpec:
    """Describe the speech-recognition server."""
    settings = {
        "HOST": LOOPBACK,
        "SERVER_PORT": "0",
        "INTERNAL_PORT": "0",
        "ENGINE": options.engine,
        "MODELS": MODEL,
        "MODEL_DIR": options.model,
        "DEVICE": options.device,
        "PRECISION": options.precision,
        "CHUNK_MS": options.chunk_ms,
        "CALIBRATION_FILE": None if options.calibration is None else options.calibration.absolute(),
        "MAX_OPEN_STREAMS": _slots(options),
        "STOP_GRACE_SECONDS": options.stop_grace_seconds,
    }
    return _service(ASR, settings, options, folder, environ, announces={"asr", "internal"})


def gateway(
    options: StackOptions, folder: RunFolder, environ: Mapping[str, str], announced: Mapping[str, str]
) -> ProcessSpec:
    """Describe the gateway; ``announced`` holds the addresses ``asr`` (host:port) and ``license_proxy`` (URL)."""
    settings = {
        "HOST": LOOPBACK,
        "AAI_WSS_PORT": options.gateway_port,
        "INTERNAL_PORT": "0",
        "ASR_POOLS": f"{POOL}/{MODEL}={announced['asr']}",
        "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": announced["license_proxy"],
        "STATE_DIR": str(folder.state_dir),
        "TOKEN_KEY_FILE": folder.token_key_file,
        "CAPACITY": options.capacity,
        "MAX_SESSIONS": options.max_sessions,
        "MAX_SESSION_SECONDS": options.max_session_seconds,
        "ASR_WAIT_SECONDS": options.asr_wait_seconds,
        "STOP_GRACE_SECONDS": options.stop_grace_seconds,
    }
    return _service(GATEWAY, settings, options, folder, environ, announces={"gateway", "gateway_internal"})


def _slots(options: StackOptions) -> int | None:
    """What the machine can carry, where the server's default of 32 would be more."""
    if options.slots is None and options.engine == "sphinx" and options.calibration is None:
        return SPHINX_SESSIONS_PER_CORE * len(os.sched_getaffinity(0))
    return options.slots


def _service(
    name: str,
    settings: Mapping[str, object],
    options: StackOptions,
    folder: RunFolder,
    environ: Mapping[str, str],
    announces: set[str],
) -> ProcessSpec:
    common = {
        "STREAMSTACK_CREDENTIAL_FILE": folder.credential_file,
        "LOGGING_LEVEL": options.log_level,
        "USE_STRUCTURED_LOGGING": str(options.structured_logs).lower(),
    }
    chosen = {key: str(value) for key, value in {**common, **settings}.items() if value is not None}
    extra = {setting.name: setting.value for setting in options.settings if setting.service == name}
    module = f"streamstack_{name.replace('-', '_')}"
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-m", module),
        environment={**inherited_environment(environ), **chosen, **extra},
        announces=frozenset(announces),
    )
