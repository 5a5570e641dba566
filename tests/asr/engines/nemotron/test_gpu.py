import re
from pathlib import Path

import pytest

from streamstack_asr.engines.nemotron import gpu, nvml
from streamstack_asr.engines.nemotron.gpu import Gpu, GpuError, Requirements, check, look, requirements
from support.fake_nvml import FakeGpu, FakeNvml

DOCS = Path(__file__).parents[4] / "docs/nemotron.md"
CUDA_13 = requirements(
    torch="2.15.0+cu132",
    cuda="13.2",
    architectures=["sm_75", "sm_80", "sm_86", "sm_90", "sm_90a", "sm_100", "sm_120"],
)
CPU = requirements(torch="2.15.0+cpu", cuda=None, architectures=[])
L4 = Gpu("NVIDIA L4", (8, 9))


def refused(needed: Requirements, driver: str | None, *gpus: Gpu) -> str:
    with pytest.raises(GpuError) as raised:
        check(needed, driver=driver, gpus=gpus)
    return str(raised.value)


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((7, 0), False),  # V100
        ((7, 5), True),  # T4
        ((8, 0), True),  # A100
        ((8, 9), True),  # L4, L40S: code for 8.6
        ((9, 0), True),  # H100, H200
        ((10, 3), True),  # B300: code for 10.0
        ((11, 0), False),  # a major version without code
        ((12, 1), True),
        ((6, 1), False),
    ],
)
def test_machine_code_runs_on_its_major_version_from_its_minor_on(capability: tuple[int, int], *, runs: bool) -> None:
    assert CUDA_13.runs_on(capability) is runs


def test_portable_code_runs_on_what_is_later() -> None:
    needed = requirements(torch="1", cuda="13.0", architectures=["sm_80", "compute_90"])
    assert needed.runs_on((11, 0))
    assert needed.runs_on((9, 0))
    assert needed.runs_on((8, 6))  # by its machine code
    assert not needed.runs_on((7, 5))
    assert needed.lowest_capability == (8, 0)


def test_code_for_one_architectures_own_features_is_not_counted() -> None:
    assert requirements(torch="1", cuda="13.0", architectures=["sm_90a", "sm_100f", "junk"]).binaries == ()


def test_what_is_needed_is_said_with_numbers() -> None:
    assert CUDA_13.described() == (
        "torch 2.15.0+cu132 (CUDA 13.2) needs a GPU of compute capability 7.5 or higher and an NVIDIA driver of at "
        "least 580"
    )
    assert "runs on the CPU alone" in CPU.described()
    assert "driver of at least unknown" in requirements(torch="9", cuda="99.1", architectures=["sm_75"]).described()


def test_a_gpu_that_is_new_enough_passes() -> None:
    check(CUDA_13, driver="580.65.06", gpus=[L4])
    check(CUDA_13, driver="610.10", gpus=[Gpu("Tesla T4", (7, 5)), L4])


def test_what_is_not_enough_is_named_with_what_is_expected() -> None:
    said = refused(CUDA_13, "580.65.06", L4, Gpu("Tesla V100", (7, 0)))
    assert said.startswith("Tesla V100 has compute capability 7.0, expected one of 7.5, 8.0, 8.6, 9.0, 10.0, 12.0 or")
    assert "the NVIDIA driver is 575.57.08, expected at least 580" in refused(CUDA_13, "575.57.08", L4)
    assert "no NVIDIA driver is to be seen here" in refused(CUDA_13, None)
    assert "the NVIDIA driver 580.1 shows no GPU, expected one" in refused(CUDA_13, "580.1")
    assert "expected a build with CUDA, or DEVICE=cpu" in refused(CPU, "580.1", L4)


def test_an_unknown_cuda_leaves_the_driver_to_cuda() -> None:
    check(requirements(torch="9", cuda="99.1", architectures=["sm_80"]), driver="1.0", gpus=[Gpu("A100", (8, 0))])


def test_driver_and_gpus_are_read_from_the_library() -> None:
    library = FakeNvml([FakeGpu(), FakeGpu(lost=True), FakeGpu("Tesla T4", capability=(7, 5))])
    assert look(library) == ("580.95.05", (L4, Gpu("Tesla T4", (7, 5))))
    assert library.started == 0
    assert look(FakeNvml(driver=None)) == (None, ())
    assert look(None) == (None, ())


@pytest.mark.nemotron
def test_the_docs_say_what_the_installed_torch_needs() -> None:
    needed = gpu.of_installed()
    assert needed.lowest_capability is not None
    said = re.search(r"compute capability \*\*([\d.]+)\*\* .*?driver \*\*([\d.]+)\*\*", DOCS.read_text(), re.DOTALL)
    assert said is not None
    assert said.groups() == (gpu.shown(needed.lowest_capability), needed.lowest_driver)


@pytest.mark.nemotron
def test_the_command_states_it_and_fails_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvml, "load", lambda: None)
    assert gpu.main() == 1
    out, err = capsys.readouterr()
    assert "needs a GPU of compute capability" in out
    assert "no NVIDIA driver is to be seen here" in err
    monkeypatch.setattr(nvml, "load", lambda: FakeNvml([FakeGpu()], driver="999.1"))
    assert gpu.main() == 0
    assert "here: NVIDIA L4, compute capability 8.9, driver 999.1" in capsys.readouterr().out


@pytest.mark.nemotron
def test_a_worker_is_told_of_a_driver_that_is_too_old_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "load", lambda: FakeNvml([FakeGpu()], driver="470.1"))
    with pytest.raises(GpuError, match=r"the NVIDIA driver is 470.1, expected at least \d+"):
        gpu.check_device(0)
    monkeypatch.setattr(nvml, "load", lambda: FakeNvml([FakeGpu()], driver="999.1"))
    with pytest.raises(GpuError, match=r"torch sees \d+ GPUs, expected one with index 99"):
        gpu.check_device(99)
