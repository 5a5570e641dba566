"""The customer's API key for usage (``USAGE_TRACKING_API_KEY``): from the environment, or a file that may be replaced.

Never logged; no message repeats it.
"""

import logging
import re
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

RELOAD_SECONDS: Final = 1.0
"""How stale a replaced file may be seen."""

EXPECTED: Final = "expected one key of 8 to 512 printable ASCII characters, without spaces"
_KEY: Final = re.compile(r"[!-~]{8,512}")
_MAX_FILE_BYTES: Final = 1024


class ApiKeyError(ValueError):
    """There is no usable key; the message says where it was expected."""


def checked(key: str) -> str:
    """Return the key without the whitespace around it. Raises ApiKeyError when it can be none."""
    stripped = key.strip()
    if not _KEY.fullmatch(stripped):
        raise ApiKeyError(EXPECTED)
    return stripped


class FixedKey:
    """A key that stays, or none."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self) -> str | None:
        """Return it."""
        return self._key


class KeyFile:
    """A key in a file; while the file is being replaced the key before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = self._read()
        self._read_at = time.monotonic()
        self._problem: str | None = None

    def __call__(self) -> str:
        """Return the key of now."""
        if time.monotonic() - self._read_at >= RELOAD_SECONDS:
            self._read_at = time.monotonic()
            try:
                self._key, self._problem = self._read(), None
            except ApiKeyError as error:
                if str(error) != self._problem:
                    log.warning("%s; the key before counts", error)
                self._problem = str(error)
        return self._key

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                content = file.read(_MAX_FILE_BYTES)
        except OSError as error:
            raise ApiKeyError(f"USAGE_TRACKING_API_KEY_FILE {self._path}: {error.strerror}") from error
        try:
            return checked(content.decode("ascii", "replace"))
        except ApiKeyError as error:
            raise ApiKeyError(f"USAGE_TRACKING_API_KEY_FILE {self._path}: {error}") from None
