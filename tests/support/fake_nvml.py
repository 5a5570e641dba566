# ruff: noqa: N802 - NVIDIA's names
"""NVIDIA's management library without NVIDIA: GPUs that say what a test wants, or are lost."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As in pynvml, all of its errors."""


@dataclass
class FakeGpu:
    name: str = "NVIDIA L4"
    uuid: str = "GPU-1"
    capability: tuple[int, int] = (8, 9)
    utilisation_percent: int | None = 40
    memory_used: int = 3 << 30
    memory_total: int = 24 << 30
    temperature: int = 51
    milliwatts: int | None = 62_500
    lost: bool = False


@dataclass
class FakeNvml:
    """``driver`` None: not installed on this machine."""

    gpus: Sequence[FakeGpu] = ()
    driver: str | None = "580.95.05"
    started: int = 0
    reads: int = 0
    read: threading.Event = field(default_factory=threading.Event)
    NVMLError: type[Exception] = NVMLError
    NVML_TEMPERATURE_GPU: int = 0

    def nvmlInit(self) -> None:
        if self.driver is None:
            raise NVMLError("Driver Not Loaded")
        self.started += 1

    def nvmlShutdown(self) -> None:
        if self.started <= 0:
            raise NVMLError("Uninitialized")
        self.started -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        assert self.driver is not None
        return self.driver

    def nvmlDeviceGetCount(self) -> int:
        self.reads += 1
        self.read.set()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if self.gpus[index].lost:
            raise NVMLError("GPU is lost")
        return self.gpus[index]

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return handle.name

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> bytes:
        return handle.uuid.encode()

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return handle.capability

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> Any:
        if handle.utilisation_percent is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=handle.utilisation_percent, memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> Any:
        return SimpleNamespace(used=handle.memory_used, total=handle.memory_total)

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return handle.temperature

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        if handle.milliwatts is None:
            raise NVMLError("Not Supported")
        return handle.milliwatts
