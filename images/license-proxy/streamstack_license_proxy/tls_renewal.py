"""Certificates are renewed while the proxy runs: files that changed are read again, connections that are open stay."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamstack_common.internal_http import TlsFilesError, load_authorities, load_certificate

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""How stale a renewed certificate may be; they are renewed days before they end."""

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side: its certificate with its key, and what the other side's is checked against.

    A CA that is gone from ``ca_file`` is believed until the next start, one that came is believed at once.
    """

    certificate: tuple[Path, Path] | None = None
    ca_file: Path | None = None

    def load(self, context: ssl.SSLContext) -> None:
        """Put them into a context. Raises TlsFilesError; the context may be half changed then."""
        if self.certificate is not None:
            load_certificate(context, *self.certificate)
        if self.ca_file is not None:
            load_authorities(context, self.ca_file)

    def stamp(self) -> Stamp:
        """Return what changes with the files. Raises OSError."""
        paths = (*(self.certificate or ()), *(() if self.ca_file is None else (self.ca_file,)))
        stats = [path.stat() for path in paths]
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


class TlsSide:
    """A context and its files, read now and again. Raises TlsFilesError at the beginning."""

    def __init__(self, context: ssl.SSLContext, files: TlsFiles) -> None:
        self.context = context
        self._files = files
        files.load(context)
        self._stamp = _stamp_of(files)

    def look(self) -> None:
        """Read the files again if they changed; while they cannot be used those before count."""
        stamp = _stamp_of(self._files)
        if stamp is None or stamp == self._stamp:
            return  # an absent file is one that is being replaced
        self._stamp = stamp
        try:
            # A certificate without its key would spoil the context that is in use: tried on another first.
            self._files.load(ssl.SSLContext(self.context.protocol))
            self._files.load(self.context)
        except TlsFilesError as error:
            log.warning("%s; what was read before counts", error)
        else:
            log.info("certificates were read again: %s", self._files)


async def look_for_renewals(sides: Sequence[TlsSide]) -> None:
    """Look until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for side in sides:
            side.look()


def _stamp_of(files: TlsFiles) -> Stamp | None:
    try:
        return files.stamp()
    except OSError:
        return None
