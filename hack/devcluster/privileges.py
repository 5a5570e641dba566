"""What this process may do on this machine: root, the distribution, the capabilities it can ever have."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

OS_RELEASE = Path("/etc/os-release")
STATUS = Path("/proc/self/status")
CAP_SYS_RESOURCE = 24
"""Its number in linux/capability.h. Machines that are themselves containers often lack it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that decide whether an engine can be installed and started here.

    ``distribution`` is the name a person knows it by; ``debian`` holds for Debian and what calls itself like it;
    ``bounding_set`` is the mask of capabilities that this process and its children can ever have.
    """

    root: bool
    debian: bool
    distribution: str
    bounding_set: int

    @property
    def limited(self) -> bool:
        """Whether ``--privileged`` asks for more than this machine gives (CAP_SYS_RESOURCE)."""
        return not self.bounding_set >> CAP_SYS_RESOURCE & 1


def this_machine() -> Machine:
    """Read the facts of the machine and of this process."""
    release = os_release(OS_RELEASE.read_text() if OS_RELEASE.exists() else "")
    return Machine(
        root=os.geteuid() == 0,
        debian=is_debian(release),
        distribution=release.get("PRETTY_NAME") or release.get("ID") or "of no known distribution",
        bounding_set=bounding_set(STATUS.read_text()),
    )


def os_release(text: str) -> dict[str, str]:
    """Parse os-release(5): assignments, quoted or not; comments and what is no assignment are passed over."""
    found = re.findall(r"^([A-Z_]+)=(.*)$", text, flags=re.MULTILINE)
    return {name: value.strip().strip("\"'") for name, value in found}


def is_debian(release: dict[str, str]) -> bool:
    """Tell whether Debian's packages are this distribution's: its ID, or one it says it is like (Ubuntu and others)."""
    return "debian" in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]


def bounding_set(status: str) -> int:
    """Return the mask in the CapBnd line of proc(5)'s status; a kernel that shows none limits nothing."""
    line = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, flags=re.MULTILINE)
    return int(line[1], 16) if line else (1 << 64) - 1
