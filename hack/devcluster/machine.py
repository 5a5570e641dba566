"""What this machine is, and whether a cluster can run on it."""

import platform

from devcluster.errors import DevError
from devcluster.oci import ARCHITECTURES


def require_architecture() -> str:
    """Return the architecture as container images name it; :class:`DevError` where no cluster could run."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise DevError(
            f"this machine (or this shell, see `setarch`) is {machine}, expected {' or '.join(ARCHITECTURES)}",
            do="run this on a 64-bit x86 or ARM machine, outside of any 32-bit personality",
        )
    return ARCHITECTURES[machine]
