"""The last license state a gateway was told, in a file that outlives the container."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamstack_common.license_status import Billing, LicenseState, Timestamp
from streamstack_gateway.license.view import Terms, Told

log = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 256 * 1024
"""A license has 64 KiB at most; as JSON its models may take more of them."""


class _Record1(BaseModel):
    """What a gateway before usage billing wrote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    state: LicenseState
    trust_expiration: Timestamp | None
    heard_at: Timestamp


class _Record2(BaseModel):
    """With the terms of the license."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2]
    state: LicenseState
    trust_expiration: Timestamp | None
    heard_at: Timestamp
    billing: Billing | None
    max_sessions: Annotated[int, Field(ge=1)] | None
    models: tuple[str, ...] | None


_RECORD: Final = TypeAdapter[_Record1 | _Record2](Annotated[_Record1 | _Record2, Field(discriminator="version")])


def recall(path: Path) -> Told | None:
    """What was remembered; None when nothing usable is there, logged unless the file is just absent."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("license memory %s: %s; starting without", path, error.strerror)
        return None
    try:
        record = _RECORD.validate_json(content)
    except ValidationError:
        log.warning("license memory %s: expected a record of version 1 or 2; starting without", path)
        return None
    terms = Terms() if isinstance(record, _Record1) else Terms(record.billing, record.max_sessions, record.models)
    return Told(record.state, record.trust_expiration, record.heard_at, terms)


def remember(path: Path, told: Told) -> None:
    """Replace the file by one complete record that is this user's alone, on the disk when this returns.

    Raises:
        OSError: it cannot be written; what was there before is still there.

    """
    record = _Record2(
        version=2,
        state=told.state,
        trust_expiration=told.trust_expiration,
        heard_at=told.heard_at,
        billing=told.terms.billing,
        max_sessions=told.terms.max_sessions,
        models=told.terms.models,
    )
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        # One that an earlier version left would keep its mode.
        draft.unlink(missing_ok=True)
        with open(draft, "x", encoding="utf-8", opener=_private) as file:
            file.write(record.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _private(path: str, flags: int) -> int:
    """Open as :func:`open` wants it of its ``opener``: a new file is this user's alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
