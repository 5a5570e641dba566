"""An archive from a URL into one file, going on where an earlier attempt ended.

A part is gone on with only where the server says, by a strong ETag or Last-Modified, that it still has the same bytes;
what arrives is vouched for by the archive's SHA-256 in any case. URLs may carry a signature, so no message shows more
than their path.
"""

import http.client
import json
import logging
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import files

logger = logging.getLogger("streamstack_asr.store")

SCHEMES: Final = ("https", "http", "file")
LARGEST_BYTES: Final = 64 << 30
ATTEMPTS: Final = 5
"""Without a byte of progress; each that made some starts the count anew."""
TIMEOUT_SECONDS: Final = 30.0
"""For a connection and for each piece; not for the whole."""

_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Source:
    """An archive: where it is and the SHA-256 it must have."""

    url: str
    sha256: str

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it."""
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit((parts.scheme, parts.hostname or "", parts.path, "", ""))


def source(url: str, sha256: str = "") -> Source:
    """Return an archive by its URL, and its digest beside it or behind ``#sha256=``. Raises ModelError."""
    bare, _, fragment = url.strip().partition("#")
    given = {text.strip().lower() for text in (sha256, fragment.removeprefix("sha256=")) if text.strip()}
    found = Source(bare, min(given, default=""))
    try:
        parts = urllib.parse.urlsplit(bare)
    except ValueError as error:
        raise ModelError(f"MODEL_ARCHIVE is no URL ({error}), expected one with {', '.join(SCHEMES)}") from error
    if parts.scheme not in SCHEMES or not (parts.path if parts.scheme == "file" else parts.hostname):
        raise ModelError(f"MODEL_ARCHIVE is {found.shown!r}, expected a URL with {', '.join(SCHEMES)}")
    if "@" in parts.netloc:
        raise ModelError(f"MODEL_ARCHIVE names a user for {found.shown}, expected none: a signed URL, say")
    if len(given) != 1 or not re.fullmatch(r"[0-9a-f]{64}", found.sha256):
        said = "nothing" if not given else " and ".join(sorted(given))
        raise ModelError(f"the SHA-256 of {found.shown} is {said}, expected 64 digits in MODEL_ARCHIVE_SHA256")
    return found


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches archives; ``pause`` waits between attempts (seconds), ``stopping`` is asked for each piece."""

    opener: urllib.request.OpenerDirector
    pause: Callable[[float], None] = time.sleep
    stopping: Callable[[], bool] = lambda: False

    def fetch(self, wanted: Source, part: Path) -> None:
        """Make ``part`` the whole archive, its SHA-256 checked. Raises ModelError; a part is left for another time.

        Nothing is left of an archive that is not the wanted one, and of one for which there is no space.
        """
        if _size(part) and files.sha256(part) == wanted.sha256:
            return  # whole: what unpacked it was ended
        failures = 0
        while True:
            before = _size(part)
            try:
                self._attempt(wanted, part)
                break
            except _TransferError as interrupted:
                failures = 0 if _size(part) > before else failures + 1
                if failures >= ATTEMPTS:
                    said = f"{wanted.shown}: {interrupted}, {ATTEMPTS} times; what came is kept"
                    raise ModelError(said) from interrupted
                logger.warning("%s: %s after %d bytes, going on", wanted.shown, interrupted, _size(part))
                self.pause(2.0**failures)
            except OSError as error:
                _forget(part)
                raise files.failure(error, f"keep {wanted.shown}", part.parent) from error
        found = files.sha256(part)
        if found != wanted.sha256:
            _forget(part)
            raise ModelError(f"{wanted.shown}: SHA-256 is {found}, expected {wanted.sha256}: another archive")

    def _attempt(self, wanted: Source, part: Path) -> None:
        state = _State.read(part)
        headers = {"Accept-Encoding": "identity", "User-Agent": "streamstack"}
        if state.resumable:
            headers |= {"Range": f"bytes={state.have}-", "If-Range": state.validator}
        request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 - schemes are checked by source()
        try:
            response = self.opener.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                _forget(part)  # the server has less than what is here: from the beginning
                raise _TransferError("the part here is not of what the server has") from error
            if error.code in _RETRIED:
                raise _TransferError(f"HTTP {error.code}") from error
            raise ModelError(f"{wanted.shown}: HTTP {error.code} {error.reason}, expected the archive") from error
        except (http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            if wanted.url.startswith("file:"):
                raise ModelError(f"{wanted.shown}: cannot be read: {reason}") from error
            if isinstance(reason, ssl.SSLCertVerificationError):
                said = f"its certificate is not trusted ({reason.verify_message})"
                raise ModelError(f"{wanted.shown}: {said}, expected an authority of SSL_CERT_FILE") from error
            raise _TransferError(f"no answer ({reason})") from error
        with response:
            self._take(response, part, state)

    def _take(self, response: Any, part: Path, state: "_State") -> None:
        """Write what comes to the part's end, or from its beginning when the server does not go on."""
        gone_on = response.status == 206
        if not gone_on or _range_start(response.headers) != state.have:
            _forget(part)
        if gone_on and _size(part) != state.have:
            raise _TransferError("the server went on elsewhere than was asked for")
        have = _size(part)
        length = response.headers.get("Content-Length", "")
        expected = have + int(length) if length.isdigit() else None
        room = files.free_bytes(part.parent)
        if expected is not None and expected > LARGEST_BYTES:
            raise ModelError(f"{part}: the server has {expected} bytes, expected at most {LARGEST_BYTES}")
        missing = 0 if expected is None else expected - have
        if room is not None and missing > room:
            raise ModelError(f"{part.parent}: {room / 1e9:.1f} GB free, expected {missing / 1e9:.1f} GB and more")
        _State.write(part, _validator(response.headers))
        with part.open("ab" if gone_on else "wb") as file:
            self._copy(response, file, have=have, expected=expected)

    def _copy(self, response: Any, file: IO[bytes], *, have: int, expected: int | None) -> None:
        while True:
            if self.stopping():
                raise ModelError(f"stopped after {have} bytes of an archive; what came is kept")
            try:
                piece = response.read(files.PIECE_BYTES)
            except (http.client.HTTPException, OSError) as error:
                raise _TransferError(f"the connection ended ({type(error).__name__})") from error
            if not piece:
                break
            file.write(piece)
            have += len(piece)
            if have > LARGEST_BYTES:
                raise ModelError(f"more than {LARGEST_BYTES} bytes came, expected an archive of a model")
        if expected is not None and have < expected:
            raise _TransferError(f"the connection ended at {have} of {expected} bytes")


class _TransferError(Exception):
    """The network failed; another attempt may go on."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is here of an archive, and by what the server knows it."""

    have: int
    validator: str

    @property
    def resumable(self) -> bool:
        return self.have > 0 and bool(self.validator)

    @classmethod
    def read(cls, part: Path) -> "_State":
        try:
            said = json.loads(_beside(part).read_bytes())
        except (OSError, ValueError):
            said = {}
        validator = said.get("validator") if isinstance(said, dict) else None
        return cls(_size(part), validator if isinstance(validator, str) else "")

    @staticmethod
    def write(part: Path, validator: str) -> None:
        files.write(_beside(part), json.dumps({"validator": validator}).encode())


def default_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http, https and file, with the environment's proxies (HTTPS_PROXY, NO_PROXY)."""
    return urllib.request.build_opener(urllib.request.ProxyHandler())


def _validator(headers: Mapping[str, str]) -> str:
    """Return what If-Range takes: a strong ETag, else Last-Modified (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _range_start(headers: Mapping[str, str]) -> int | None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _beside(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)
