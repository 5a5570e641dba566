"""The license file on disk, looked at again and again: it may be replaced while the proxy runs."""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamstack_common.keyring import Keyring
from streamstack_common.license import (
    MAX_LICENSE_BYTES,
    LicenseError,
    MissingLicenseError,
    OversizedLicenseError,
    UnreadableLicenseError,
    verify,
)
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.state import Reading, Standing, standing

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 1.0
"""How stale a replaced file may be seen. The file is read, not stat'ed: a kubelet swaps a symlink, others write in
place, clocks of file systems are coarse, and a license is a kilobyte."""


def utc_now() -> datetime:
    """Return the wall clock; a license's validity is told in it."""
    return datetime.now(UTC)


def read_license(path: Path) -> bytes:
    """Content of the license file.

    Raises:
        LicenseError: missing, unreadable or oversized.

    """
    try:
        # Without O_NONBLOCK opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableLicenseError(f"{path}: expected a regular file")
            content = file.read(MAX_LICENSE_BYTES + 1)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise MissingLicenseError(f"{path}: no such file") from error
        raise UnreadableLicenseError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_LICENSE_BYTES:
        raise OversizedLicenseError(f"{path}: expected at most {MAX_LICENSE_BYTES} bytes")
    return content


class LicenseWatch:
    """The license file's last reading; logs every change of content, state or cause."""

    def __init__(self, path: Path, keyring: Keyring, *, now: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._keyring = keyring
        self._now = now
        self._content: bytes | None = None
        self._reading: Reading = MissingLicenseError(f"{path}: not read yet")
        self._logged: tuple[LicenseState, str | None, bytes | None] | None = None

    def standing(self) -> Standing:
        """Judge the last reading at this moment."""
        return standing(self._reading, self._now())

    async def look(self) -> None:
        """Read the file once."""
        try:
            content = await asyncio.to_thread(read_license, self._path)
        except LicenseError as failure:
            self._content, self._reading = None, failure
        else:
            if content != self._content:
                self._content, self._reading = content, self._verified(content)
        self._log_change()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self.look()

    def _verified(self, content: bytes) -> Reading:
        try:
            return verify(content, self._keyring)
        except LicenseError as failure:
            return failure

    def _log_change(self) -> None:
        current = self.standing()
        failure, license_ = current.failure, current.license
        seen = (current.state, failure.cause if failure is not None else None, self._content)
        if seen == self._logged:
            return
        before = self._logged[0] if self._logged else "unknown"
        self._logged = seen
        if failure is not None:
            log.error("license %s -> %s (%s): %s", before, current.state, failure.cause, failure)
        elif license_ is not None:
            log.info(
                "license %s -> %s: license %s of %s, billing %s, until %s",
                before,
                current.state,
                license_.license_id,
                license_.customer,
                license_.billing,
                license_.expires_at.isoformat(),
            )
