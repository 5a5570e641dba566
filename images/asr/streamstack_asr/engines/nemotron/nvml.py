"""NVIDIA's management library as far as it is used here, and the absence of it.

``pynvml`` (nvidia-ml-py) loads ``libnvidia-ml.so.1`` of the driver, which needs no CUDA and works with every driver.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

Answer = TypeVar("Answer")


class Nvml(Protocol):
    """The functions of ``pynvml`` that are called; what they raise derives from ``NVMLError``."""

    NVMLError: type[Exception]
    NVML_TEMPERATURE_GPU: int

    def nvmlInit(self) -> None: ...  # noqa: N802, D102 - NVIDIA's names
    def nvmlShutdown(self) -> None: ...  # noqa: N802, D102
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...  # noqa: N802, D102
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802, D102
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...  # noqa: N802, D102
    def nvmlDeviceGetName(self, handle: Any, /) -> str | bytes: ...  # noqa: N802, D102
    def nvmlDeviceGetUUID(self, handle: Any, /) -> str | bytes: ...  # noqa: N802, D102
    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, /) -> tuple[int, int]: ...  # noqa: N802, D102
    def nvmlDeviceGetUtilizationRates(self, handle: Any, /) -> Any: ...  # noqa: N802, D102
    def nvmlDeviceGetMemoryInfo(self, handle: Any, /) -> Any: ...  # noqa: N802, D102
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, /) -> int: ...  # noqa: N802, D102
    def nvmlDeviceGetPowerUsage(self, handle: Any, /) -> int: ...  # noqa: N802, D102


def load() -> Nvml | None:
    """Return the library, or None where the package is not installed."""
    try:
        return cast(Nvml, importlib.import_module("pynvml"))
    except ModuleNotFoundError:
        return None


def started(nvml: Nvml | None) -> bool:
    """Start the library; False when there is none, no driver, or no permission. Ended by ``nvmlShutdown``."""
    if nvml is None:
        return False
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return False
    return True


def text(value: str | bytes) -> str:
    """Return what older releases give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def answer(nvml: Nvml, ask: Callable[[], Answer]) -> Answer | None:
    """Return what a question is answered with, or None where this GPU (a MIG slice, say) does not answer it."""
    try:
        return ask()
    except nvml.NVMLError:
        return None
