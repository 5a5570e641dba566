"""Whose usage a journal holds: one customer's, for one authority.

What was used under one license must not be billed under another's name, nor what one authority has billed already by a
second one. So a journal belongs to whom it was begun for. Under a license of somebody else nothing is taken, uploaded
or exported until the authority has all that the owner used; then that journal is set aside, and a new one begins.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from streamstack_common.license import License
from streamstack_license_proxy.journal.errors import JournalUnusableError
from streamstack_license_proxy.journal.files import typed_os_error
from streamstack_license_proxy.journal.signing_key import sync_folder

FILE_NAME: Final = "usage.owner.json"
MAX_FILE_BYTES: Final = 4096
MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Owner:
    """A customer, and the base URL of the authority that licenses it; None where an offline license names none."""

    customer: str
    authority: str | None

    @classmethod
    def of(cls, license_: License) -> Self:
        """Return whose usage is used under a license."""
        return cls(license_.customer, license_.authority)

    def __str__(self) -> str:
        return f"{self.customer!a} of {self.authority or 'no authority'}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    customer: str
    authority: str | None


class OwnerFile:
    """The owner on disk, beside the journal."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def read(self) -> Owner | None:
        """Return the owner; None where the journal has none yet.

        Raises:
            JournalUnusableError: the file is there and says nothing usable: a person has to look.
            JournalError: it cannot be read.

        """
        try:
            with self._path.open("rb") as file:
                record = _Record.model_validate_json(file.read(MAX_FILE_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise typed_os_error(error, self._path.parent) from error
        except ValidationError:
            raise JournalUnusableError(
                f"{self._path}: expected customer and authority of the journal beside it; restore the file, or move it "
                "away to give the journal to the license of now"
            ) from None
        return Owner(record.customer, record.authority)

    def write(self, owner: Owner) -> None:
        """Replace the owner; on the disk when this returns. Raises JournalError: what was there before still is."""
        draft = self._path.with_name(f"{FILE_NAME}.new")
        content = _Record(customer=owner.customer, authority=owner.authority).model_dump_json().encode() + b"\n"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise typed_os_error(error, self._path.parent) from error
