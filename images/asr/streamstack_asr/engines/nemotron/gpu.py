"""The lowest GPU and driver that the installed torch runs on, and whether those here are enough.

`python -m streamstack_asr.engines.nemotron.gpu` states it. torch is imported only where a function says so: in the
worker process and in the command.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron import nvml as library
from streamstack_asr.engines.nemotron.nvml import Nvml, answer, text

LOWEST_DRIVER: Final = {11: "450.80.02", 12: "525.60.13", 13: "580"}
"""CUDA major version -> Linux driver that runs programs of all its minor versions.

Source: CUDA Toolkit Release Notes, table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version
Compatibility".
"""

Capability = tuple[int, int]


class GpuError(EngineError):
    """No GPU here can be used: the message names what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by what decides whether code runs on it."""

    name: str
    capability: Capability


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a build of torch needs.

    ``binaries`` are the compute capabilities it holds machine code for, ``portable`` those it holds PTX for. ``cuda``
    is None for a build without CUDA.
    """

    torch: str
    cuda: str | None
    binaries: tuple[Capability, ...]
    portable: tuple[Capability, ...] = ()

    @property
    def lowest_capability(self) -> Capability | None:
        """The lowest compute capability of all that run."""
        return min((*self.binaries, *self.portable), default=None)

    @property
    def lowest_driver(self) -> str | None:
        """The lowest driver, or None for a CUDA version that is not known here."""
        return LOWEST_DRIVER.get(int(self.cuda.split(".")[0])) if self.cuda else None

    def runs_on(self, capability: Capability) -> bool:
        """Whether there is code for a GPU: machine code of its major version up to its minor, or PTX up to it.

        Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
        """
        binary = any(major == capability[0] and minor <= capability[1] for major, minor in self.binaries)
        return binary or any(ptx <= capability for ptx in self.portable)

    def described(self) -> str:
        """Say it in a sentence."""
        if self.cuda is None:
            return f"torch {self.torch} is built without CUDA: it runs on the CPU alone"
        lowest, driver = self.lowest_capability, self.lowest_driver
        return (
            f"torch {self.torch} (CUDA {self.cuda}) needs a GPU of compute capability "
            f"{shown(lowest) if lowest else 'unknown'} or higher and an NVIDIA driver of at least {driver or 'unknown'}"
        )


def requirements(*, torch: str, cuda: str | None, architectures: Iterable[str]) -> Requirements:
    """Return what a build needs by its version, its CUDA version and its list of architectures (``sm_75``, ...)."""
    found: dict[str, list[Capability]] = {"sm": [], "compute": []}
    for name in architectures:
        parsed = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        # Code for one architecture's own features (sm_90a) runs on no other: what else is in the list decides.
        if parsed and not parsed[4]:
            found[parsed[1]].append((int(parsed[2]), int(parsed[3])))
    return Requirements(torch, cuda, tuple(sorted(found["sm"])), tuple(sorted(found["compute"])))


def of_installed() -> Requirements:
    """Return the requirements of the installed torch, which is imported."""
    import torch

    # Not torch.cuda.get_arch_list(): that is empty where no GPU is.
    flags = torch._C._cuda_getArchFlags() if torch.version.cuda else ""  # noqa: SLF001 - nothing public says it
    return requirements(torch=torch.__version__, cuda=torch.version.cuda, architectures=(flags or "").split())


def check(needed: Requirements, *, driver: str | None, gpus: Sequence[Gpu]) -> None:
    """Raise GpuError when the driver or a GPU is not enough; ``driver`` is None where none is to be seen."""
    check_driver(needed, driver)
    if not gpus:
        raise GpuError(f"the NVIDIA driver {driver} shows no GPU, expected one: {needed.described()}")
    for gpu in gpus:
        if not needed.runs_on(gpu.capability):
            raise GpuError(
                f"{gpu.name} has compute capability {shown(gpu.capability)}, expected one of "
                f"{', '.join(map(shown, needed.binaries))} or a later minor version of these: {needed.described()}"
            )


def check_driver(needed: Requirements, driver: str | None) -> None:
    """Raise GpuError when torch is built without CUDA, or the driver is missing or too old for it."""
    if needed.cuda is None:
        raise GpuError(f"{needed.described()}: expected a build with CUDA, or DEVICE=cpu")
    lowest = needed.lowest_driver
    if driver is None:
        raise GpuError(
            f"no NVIDIA driver is to be seen here: {needed.described()}; is the container given a GPU? "
            "(nvidia.com/gpu in Kubernetes, --gpus with Docker)"
        )
    if lowest is not None and _numbers(driver) < _numbers(lowest):
        raise GpuError(f"the NVIDIA driver is {driver}, expected at least {lowest}: {needed.described()}")


def look(nvml: Nvml | None) -> tuple[str | None, tuple[Gpu, ...]]:
    """Return the driver's version, None without one, and the GPUs it shows."""
    if nvml is None or not library.started(nvml):
        return None, ()
    try:
        driver = answer(nvml, nvml.nvmlSystemGetDriverVersion)
        count = answer(nvml, nvml.nvmlDeviceGetCount) or 0
        found = [answer(nvml, lambda at=index: _gpu(nvml, at)) for index in range(count)]  # type: ignore[misc]
    finally:
        answer(nvml, nvml.nvmlShutdown)
    return None if driver is None else text(driver), tuple(gpu for gpu in found if gpu is not None)


def check_device(index: int) -> None:
    """Check the driver, then GPU ``index`` as torch counts them; for a worker process. Raises GpuError.

    In this order: torch says no more of a driver that is too old than that there is no GPU.
    """
    import torch

    needed = of_installed()
    driver, _ = look(library.load())
    check_driver(needed, driver)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise GpuError(f"torch sees {torch.cuda.device_count()} GPUs, expected one with index {index}")
    check(needed, driver=driver, gpus=[Gpu(torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index))])


def shown(capability: Capability) -> str:
    """Return a compute capability as people write it."""
    return f"{capability[0]}.{capability[1]}"


def main() -> int:
    """State what the installed torch needs and what is here; 1 when that is not enough."""
    needed = of_installed()
    driver, gpus = look(library.load())
    sys.stdout.write(f"{needed.described()}\n")
    sys.stdout.write(f"code for: {', '.join(map(shown, (*needed.binaries, *needed.portable)))}\n")
    for gpu in gpus:
        sys.stdout.write(f"here: {gpu.name}, compute capability {shown(gpu.capability)}, driver {driver}\n")
    try:
        check(needed, driver=driver, gpus=gpus)
    except GpuError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _gpu(nvml: Nvml, index: int) -> Gpu:
    handle: Any = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(text(nvml.nvmlDeviceGetName(handle)), (major, minor))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


if __name__ == "__main__":
    sys.exit(main())
