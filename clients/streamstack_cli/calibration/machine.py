"""What a machine is, for whoever reads a calibration later."""

import os
import platform
from pathlib import Path

from streamstack_common.calibration import Machine


def this_machine() -> Machine:
    """Describe the machine this runs on (proc(5), ``cpuinfo``)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return Machine(
        processor=next(model, platform.machine()),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.release()}",
    )
