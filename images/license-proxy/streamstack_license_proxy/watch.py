"""The license file on disk, looked at again and again: it may be replaced while the proxy runs."""

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Final

from streamstack_common.keyring import Keyring
from streamstack_common.license import (
    MAX_LICENSE_BYTES,
    License,
    LicenseError,
    MissingLicenseError,
    OversizedLicenseError,
    UnreadableLicenseError,
    verify,
)
from streamstack_license_proxy.state import Reading

WATCH_SECONDS: Final = 1.0
"""How stale a replaced file may be seen. The file is read, not stat'ed: a kubelet swaps a symlink, others write in
place, clocks of file systems are coarse, and a license is a kilobyte."""


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
    """The license file's last reading."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self._path = path
        self._keyring = keyring
        self._content: bytes | None = None
        self._reading: Reading = MissingLicenseError(f"{path}: not read yet")

    @property
    def content(self) -> bytes | None:
        """What the file holds, None when it cannot be read: a secret."""
        return self._content

    @property
    def reading(self) -> Reading:
        """What it means."""
        return self._reading

    @property
    def token(self) -> str | None:
        """The license itself while it is authentic: a secret."""
        if self._content is None or not isinstance(self._reading, License):
            return None
        return self._content.strip().decode("ascii")

    def online(self) -> tuple[License, str] | None:
        """Return an authentic license that wants check-ins, and its token; None when there is no such."""
        token = self.token
        if token is None or not isinstance(self._reading, License) or self._reading.offline:
            return None
        return self._reading, token

    async def look(self) -> bool:
        """Read the file once; tells whether it changed."""
        before = self._content, self._reading
        try:
            content = await asyncio.to_thread(read_license, self._path)
        except LicenseError as failure:
            self._content, self._reading = None, failure
            return before[0] is not None or str(before[1]) != str(failure)
        if content != self._content:
            self._content, self._reading = content, self._verified(content)
        return content != before[0]

    def _verified(self, content: bytes) -> Reading:
        try:
            return verify(content, self._keyring)
        except LicenseError as failure:
            return failure
