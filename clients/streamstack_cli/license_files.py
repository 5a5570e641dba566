"""A license as a file: what it says, whether that can be believed, and how people are told. No network, no clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt
from pydantic import ValidationError

from streamstack_cli import files
from streamstack_cli.transcript_view import printable
from streamstack_common.keyring import ALGORITHMS, Keyring
from streamstack_common.license import (
    AUDIENCE,
    MAX_LICENSE_BYTES,
    AlgorithmNotAllowedError,
    BadClaimsError,
    License,
    LicenseError,
    MalformedLicenseError,
    MissingLicenseError,
    OversizedLicenseError,
    UnreadableLicenseError,
    WrongAudienceError,
    verify,
)

_SECONDS_A: Final = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


@dataclass(frozen=True, slots=True)
class Inspected:
    """Claims of a license. ``verified_by`` is the key whose signature it carries; None: nobody checked."""

    license: License
    verified_by: str | None


def read(path: Path) -> bytes:
    """Return the content of a license file. Raises LicenseError."""
    try:
        return files.read(path, limit=MAX_LICENSE_BYTES)
    except FileNotFoundError as error:
        raise MissingLicenseError(f"{path}: no such file") from error
    except files.OversizedError as error:
        raise OversizedLicenseError(str(error)) from error
    except files.FileError as error:
        raise UnreadableLicenseError(str(error)) from error


def inspected(token: bytes, keyring: Keyring | None) -> Inspected:
    """Return what a license says, whenever it is valid; without a ring nobody vouches for it. Raises LicenseError."""
    if keyring is None:
        return Inspected(_claimed(token), verified_by=None)
    license_ = verify(token, keyring)
    return Inspected(license_, verified_by=str(jwt.get_unverified_header(token.strip())["kid"]))


def described(seen: Inspected, *, now: datetime) -> str:
    """Lay out a license for people, one fact a line."""
    license_ = seen.license
    authority = license_.authority or "none named: a proxy has to be told"
    facts = {
        "license": license_.license_id,
        "customer": license_.customer,
        "billing": "usage: sessions are reported" if license_.billing == "usage" else "flat: nothing is reported",
        "sessions": "without limit" if license_.max_sessions is None else f"{license_.max_sessions} at once",
        "models": "any" if "*" in license_.models else ", ".join(license_.models),
        "authority": "not asked: an offline license" if license_.offline else authority,
        "trust": "by its dates alone"
        if license_.offline
        else f"{duration(license_.trust_window_seconds)} after the last good check-in",
        "valid from": f"{license_.valid_from:%Y-%m-%d %H:%M:%S} UTC",
        "expires": f"{license_.expires_at:%Y-%m-%d %H:%M:%S} UTC",
        "now": _validity(license_, now),
        "signature": "NOT CHECKED: no keys were given; anybody may have written this"
        if seen.verified_by is None
        else f"good, by key {seen.verified_by}",
    }
    return "".join(f"{name:<11}{printable(text)}\n" for name, text in facts.items())


def duration(seconds: int) -> str:
    """Return a duration in its two largest units."""
    parts, rest = [], seconds
    for unit, length in _SECONDS_A.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"


def _validity(license_: License, now: datetime) -> str:
    if now < license_.valid_from:
        return f"NOT VALID YET: in {_apart(license_.valid_from - now)}"
    if now >= license_.expires_at:
        return f"EXPIRED {_apart(now - license_.expires_at)} ago"
    return f"valid, for {_apart(license_.expires_at - now)}"


def _apart(difference: timedelta) -> str:
    return duration(int(difference.total_seconds()))


def _claimed(token: bytes) -> License:
    """Return claims that nobody vouches for. Raises LicenseError where they would not do even with a good signature."""
    if len(token) > MAX_LICENSE_BYTES:
        raise OversizedLicenseError(f"expected at most {MAX_LICENSE_BYTES} bytes")
    try:
        complete: dict[str, Any] = jwt.decode_complete(token.strip(), options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise MalformedLicenseError("expected a JWT: three base64url parts joined by dots") from error
    if complete["header"].get("alg") not in ALGORITHMS:
        raise AlgorithmNotAllowedError(f"expected a signature with {' or '.join(ALGORITHMS)}")
    audience = complete["payload"].get("aud")
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise WrongAudienceError(f"issued for another audience; expected {AUDIENCE!r}")
    try:
        return License.model_validate(complete["payload"])
    except ValidationError as error:
        raise _bad_claims(error) from None


def _bad_claims(error: ValidationError) -> LicenseError:
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'claims'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    ]
    return BadClaimsError("; ".join(problems))
