import sys

import pytest

from streamstack_asr.engines.nemotron import nvml
from streamstack_asr.engines.nemotron.gpu_metrics import GpuMonitor, gauges, read
from support.fake_nvml import FakeGpu, FakeNvml

TWO = [FakeGpu(), FakeGpu("NVIDIA H200", "GPU-2", utilisation_percent=100)]


def samples(library: FakeNvml) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["gpu"]): sample.value
        for metric in gauges(read(library), "asr_")
        for sample in metric.samples
    }


def test_each_gpu_has_its_gauges_in_base_units() -> None:
    found = samples(FakeNvml(TWO))
    assert found["asr_gpu_utilisation", "0"] == pytest.approx(0.4)
    assert found["asr_gpu_utilisation", "1"] == 1
    assert found["asr_gpu_memory_used_bytes", "0"] == 3 << 30
    assert found["asr_gpu_memory_total_bytes", "0"] == 24 << 30
    assert found["asr_gpu_temperature_celsius", "0"] == 51
    assert found["asr_gpu_power_watts", "1"] == pytest.approx(62.5)
    (metric, *_) = gauges(read(FakeNvml(TWO)), "asr_")
    assert metric.samples[1].labels == {"gpu": "1", "uuid": "GPU-2", "name": "NVIDIA H200"}


def test_what_a_gpu_does_not_say_is_left_out() -> None:
    found = samples(FakeNvml([FakeGpu(utilisation_percent=None, milliwatts=None)]))
    assert {name for name, _ in found} == {
        "asr_gpu_memory_used_bytes",
        "asr_gpu_memory_total_bytes",
        "asr_gpu_temperature_celsius",
    }


def test_a_gpu_that_is_lost_takes_no_other_with_it() -> None:
    assert [reading.index for reading in read(FakeNvml([FakeGpu(lost=True), FakeGpu()]))] == [1]


def test_a_monitor_reads_until_it_is_stopped() -> None:
    library = FakeNvml(TWO)
    monitor = GpuMonitor(library, period_seconds=0.001)
    assert monitor.readings == ()
    monitor.start()
    assert library.started == 1
    for _ in range(3):
        assert library.read.wait(30)
        library.read.clear()
    assert [reading.uuid for reading in monitor.readings] == ["GPU-1", "GPU-2"]
    assert len(list(monitor.metrics("asr_"))) == 5
    monitor.stop()
    monitor.stop()
    assert library.started == 0


def test_without_a_driver_there_is_nothing_and_no_error() -> None:
    monitor = GpuMonitor(FakeNvml(TWO, driver=None))
    monitor.start()
    assert (monitor.readings, list(monitor.metrics("asr_"))) == ((), [])
    monitor.stop()


def test_without_the_package_there_is_nothing_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.load() is None
    monitor = GpuMonitor()
    monitor.start()
    assert monitor.readings == ()
    monitor.stop()


@pytest.mark.nemotron
def test_the_real_library_has_what_is_called() -> None:
    real = nvml.load()
    assert real is not None
    called = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    assert len(called) == 12
    assert [name for name in (*called, "NVMLError", "NVML_TEMPERATURE_GPU") if not hasattr(real, name)] == []
    monitor = GpuMonitor(period_seconds=0.01)
    monitor.start()  # whatever this machine has
    monitor.stop()
