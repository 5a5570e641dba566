"""``streamstack license``: issue and revoke at a license authority, and read what a license says."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from streamstack_cli import exit_codes, files, license_files
from streamstack_cli.http_api import Target, Trust, connected
from streamstack_cli.running import run_calls, say
from streamstack_cli.stack import OptionsError
from streamstack_common.keyring import Keyring, KeyringError, parse_jwks
from streamstack_common.license import License, LicenseError
from streamstack_common.license_status import Billing

LICENSES_PATH: Final = "/v1/licenses"
KEYS_PATH: Final = "/v1/keys"
MAX_KEYS_BYTES: Final = 1024 * 1024


class Wanted(BaseModel):
    """A license to be issued: body of ``POST /v1/licenses``."""

    model_config = ConfigDict(frozen=True)

    customer: str
    billing: Billing
    models: tuple[str, ...]
    max_sessions: int | None
    trust_window_seconds: int
    valid_seconds: int
    offline: bool


class Revocation(BaseModel):
    """Body of ``POST /v1/licenses/{license_id}/revoke``."""

    model_config = ConfigDict(frozen=True)

    reason: str | None


class Issued(BaseModel):
    """Its answer; ``api_key`` is what a proxy reports usage with, None where none was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    license_id: Annotated[str, Field(min_length=1, max_length=256)]
    license: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    api_key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None


@dataclass(frozen=True, slots=True)
class IssueOptions:
    """Where a new license goes, and the API key that comes with one for usage billing.

    ``show_api_key`` writes the key to the terminal in place of a file. Raises OptionsError: the key would get lost, or
    into whatever a script's output gets into.
    """

    authority: Target
    wanted: Wanted
    out: Path
    api_key_out: Path | None = None
    show_api_key: bool = False

    def __post_init__(self) -> None:
        chosen = (self.api_key_out is not None) + self.show_api_key
        # Offline, usage goes as files, and no key with it.
        needed = self.wanted.billing == "usage" and not self.wanted.offline
        if needed and chosen != 1:
            raise OptionsError("--billing usage comes with an API key: expected --api-key-out FILE or --show-api-key")
        if chosen and not needed:
            raise OptionsError("no API key comes with this license: expected neither --api-key-out nor --show-api-key")
        if self.show_api_key and not sys.stdout.isatty():
            raise OptionsError("--show-api-key is for a terminal, and this is none: expected --api-key-out FILE")
        if self.out == self.api_key_out:
            raise OptionsError("--out and --api-key-out name the same file")


def issue(options: IssueOptions) -> int:
    """Have a license issued and write it down; the exit status."""
    return run_calls(_issue(options))


def revoke(authority: Target, license_id: str, *, reason: str | None) -> int:
    """Have a license revoked; the exit status."""
    return run_calls(_revoke(authority, license_id, reason))


def inspect(path: Path, *, keys: str | None, trust: Trust) -> int:
    """Print what a license says, and whether it holds; the exit status.

    ``keys`` is a JWKS: a file, or the address of an authority.
    """
    return run_calls(_inspect(path, keys, trust=trust))


async def _issue(options: IssueOptions) -> int:
    places = [path for path in (options.out, options.api_key_out) if path is not None]
    for path in places:
        files.check_new(path)
    async with connected(options.authority) as api:
        answer = await api.post(LICENSES_PATH, options.wanted)
    answer.good()
    issued = answer.read(Issued)
    try:
        if options.api_key_out is not None and issued.api_key is not None:
            files.write_new(options.api_key_out, f"{issued.api_key}\n".encode())
        files.write_new(options.out, f"{issued.license}\n".encode())
    except files.FileError as error:
        raise files.FileError(
            f"{error}; license {issued.license_id} was issued: revoke it, or it stays valid"
        ) from error
    _print(f"{options.out}: license {issued.license_id} of {options.wanted.customer}")
    if issued.api_key is None:
        return exit_codes.OK
    if options.api_key_out is not None:
        _print(f"{options.api_key_out}: the API key of {options.wanted.customer}, for USAGE_TRACKING_API_KEY")
    elif options.show_api_key:
        _print(f"API key of {options.wanted.customer}, for USAGE_TRACKING_API_KEY, shown once: {issued.api_key}")
    return exit_codes.OK


async def _revoke(authority: Target, license_id: str, reason: str | None) -> int:
    async with connected(authority) as api:
        answer = await api.post(f"{LICENSES_PATH}/{quote(license_id, safe='')}/revoke", Revocation(reason=reason))
    answer.good()
    _print(f"license {license_id} is revoked: proxies learn it with their next check-in, live sessions finish")
    return exit_codes.OK


async def _inspect(path: Path, keys: str | None, *, trust: Trust) -> int:
    ring = None if keys is None else await _keyring(keys, trust=trust)
    now = datetime.now(UTC)
    try:
        seen = license_files.inspected(license_files.read(path), ring)
    except LicenseError as error:
        say(f"{path}: {error.cause}: {error}")
        return exit_codes.INVALID
    sys.stdout.write(license_files.described(seen, now=now))
    return _holds(path, seen.license, now)


def _holds(path: Path, license_: License, now: datetime) -> int:
    try:
        license_.check(now)
    except LicenseError as error:
        say(f"{path}: {error.cause}: {error}")
        return exit_codes.INVALID
    return exit_codes.OK


async def _keyring(keys: str, *, trust: Trust) -> Keyring:
    """Return the keys of a file, or of an authority by its address. Raises OptionsError and ApiError."""
    if keys.startswith(("http://", "https://")):
        target = Target(keys.rstrip("/").removesuffix(KEYS_PATH), trust=trust)
        async with connected(target) as api:
            document = (await api.get(KEYS_PATH)).good()
    else:
        try:
            document = files.read(Path(keys), limit=MAX_KEYS_BYTES)
        except FileNotFoundError as error:
            raise OptionsError(f"--keys {keys}: no such file") from error
    try:
        return Keyring(parse_jwks(document, source=f"--keys {keys}"))
    except KeyringError as error:
        raise OptionsError(str(error)) from error


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
