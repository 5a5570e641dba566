"""All the clocks of this machine, read together."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamstack_license_proxy.trust import Moment

BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
"""random(4): a name that the kernel makes for itself at boot; containers of one machine see the same."""


class SystemClock:
    """Tells :class:`Moment`."""

    def __init__(self) -> None:
        self._boot_id = BOOT_ID_FILE.read_text(encoding="ascii").strip()

    def __call__(self) -> Moment:
        """Return now. CLOCK_BOOTTIME, unlike CLOCK_MONOTONIC, goes on while the machine is suspended."""
        return Moment(datetime.now(UTC), self._boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))
