"""What the GPUs are doing, by NVIDIA's management library: readings for metrics, none where there is no GPU.

A reading takes a driver up to some 10 ms for each GPU, so it is made by a thread of its own, and a scrape has the last.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from streamstack_asr.engines.nemotron import nvml as library
from streamstack_asr.engines.nemotron.nvml import Nvml, answer, text

PERIOD_SECONDS: Final = 5.0
LABELS: Final = ("gpu", "uuid", "name")


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment; None for what it does not say. ``utilisation`` is 0 to 1."""

    index: int
    uuid: str
    name: str
    utilisation: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None


GAUGES: Final[tuple[tuple[str, str, Callable[[GpuReading], float | None]], ...]] = (
    ("gpu_utilisation", "Share of time in which a kernel ran, 0 to 1.", lambda gpu: gpu.utilisation),
    ("gpu_memory_used_bytes", "Memory in use on the GPU, by everyone.", lambda gpu: gpu.memory_used_bytes),
    ("gpu_memory_total_bytes", "Memory of the GPU.", lambda gpu: gpu.memory_total_bytes),
    ("gpu_temperature_celsius", "Temperature of the GPU.", lambda gpu: gpu.temperature_celsius),
    ("gpu_power_watts", "Power drawn by the GPU.", lambda gpu: gpu.power_watts),
)
"""Name without the server's prefix, documentation, value."""


class GpuMonitor:
    """Reads all GPUs that this process sees, again and again from ``start`` to ``stop``."""

    def __init__(self, nvml: Nvml | None = None, *, period_seconds: float = PERIOD_SECONDS) -> None:
        self._nvml = nvml if nvml is not None else library.load()
        self._period_seconds = period_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._readings: tuple[GpuReading, ...] = ()

    @property
    def readings(self) -> tuple[GpuReading, ...]:
        """The last readings; none before the first, and where there is no GPU."""
        return self._readings

    def start(self) -> None:
        """Begin, when there is a driver; without one this does nothing."""
        if self._nvml is not None and library.started(self._nvml):
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, args=(self._nvml,), name="gpu-metrics", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; idempotent."""
        self._stopping.set()
        if self._thread is not None and self._nvml is not None:
            self._thread.join()
            self._thread = None
            answer(self._nvml, self._nvml.nvmlShutdown)

    def metrics(self, prefix: str) -> Iterator[Metric]:
        """Yield the gauges of the last readings, each with ``prefix`` before its name."""
        return gauges(self._readings, prefix)

    def _run(self, nvml: Nvml) -> None:
        while True:
            self._readings = read(nvml)
            if self._stopping.wait(self._period_seconds):
                return


def read(nvml: Nvml) -> tuple[GpuReading, ...]:
    """Read every GPU once; the library has been started. One that is lost meanwhile is left out."""
    found = []
    for index in range(answer(nvml, nvml.nvmlDeviceGetCount) or 0):
        reading = answer(nvml, lambda at=index: _read_one(nvml, at))  # type: ignore[misc]
        if reading is not None:
            found.append(reading)
    return tuple(found)


def gauges(readings: Iterable[GpuReading], prefix: str) -> Iterator[Metric]:
    """Yield a gauge for each thing that some GPU says."""
    readings = tuple(readings)
    for name, documentation, value in GAUGES:
        family = GaugeMetricFamily(f"{prefix}{name}", documentation, labels=LABELS)
        for gpu in readings:
            said = value(gpu)
            if said is not None:
                family.add_metric([str(gpu.index), gpu.uuid, gpu.name], said)
        if family.samples:
            yield family


def _read_one(nvml: Nvml, index: int) -> GpuReading:
    """Read one GPU; raises NVMLError when it is gone."""
    handle: Any = nvml.nvmlDeviceGetHandleByIndex(index)
    rates = answer(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    memory = answer(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    milliwatts = answer(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return GpuReading(
        index=index,
        uuid=text(nvml.nvmlDeviceGetUUID(handle)),
        name=text(nvml.nvmlDeviceGetName(handle)),
        utilisation=None if rates is None else rates.gpu / 100,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        temperature_celsius=answer(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power_watts=None if milliwatts is None else milliwatts / 1000,
    )
