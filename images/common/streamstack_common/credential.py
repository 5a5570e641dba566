"""The stack's bearer token: one file, rotated with overlap, compared in constant time, never logged."""

import hmac
import re
import time
from pathlib import Path

RELOAD_SECONDS = 1.0
"""How stale a rotated file may be seen; a kubelet takes longer to project a changed Secret."""

MINIMUM_LENGTH = 16
_TOKEN = re.compile(rb"[!-~]{%d,}" % MINIMUM_LENGTH)


class CredentialError(ValueError):
    """The credential file cannot be used; the message names the file and what was expected, never the content."""


class Credential:
    """Tokens of a credential file: the first line is sent, every line is accepted."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._checked_at = 0.0
        self._tokens: list[bytes] = []
        self._reload()

    def current(self) -> str:
        """Return the token to send."""
        self._refresh()
        return self._tokens[0].decode("ascii")

    def bearer(self) -> str:
        """Return the value of an ``Authorization`` header."""
        return f"Bearer {self.current()}"

    def accepts(self, header: str | bytes | None) -> bool:
        """Tell whether an ``Authorization`` header carries one of the tokens."""
        if header is None:
            return False
        value = header.encode("utf-8", "surrogateescape") if isinstance(header, str) else header
        scheme, _, token = value.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        self._refresh()
        # Every token is compared, so that timing does not tell which line matched.
        return any([hmac.compare_digest(token, known) for known in self._tokens])  # noqa: C419

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < RELOAD_SECONDS:
            return
        self._checked_at = now
        try:
            self._reload()
        except CredentialError:
            # A half-written or briefly absent file during a rotation: the tokens in force stay.
            return

    def _reload(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp == self._stamp:
                return
            lines = [line.strip() for line in self._path.read_bytes().splitlines() if line.strip()]
        except OSError as error:
            raise CredentialError(f"credential file {self._path}: {error.strerror}") from error
        if not lines or not all(_TOKEN.fullmatch(line) for line in lines):
            raise CredentialError(
                f"credential file {self._path}: expected one token of at least {MINIMUM_LENGTH} "
                "printable ASCII characters a line, without spaces"
            )
        self._stamp, self._tokens = stamp, lines
