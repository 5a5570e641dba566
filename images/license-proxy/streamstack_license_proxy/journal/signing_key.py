"""A journal's own key: it names the journal and signs what is exported from it. It never leaves the folder."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streamstack_common.usage_export import journal_id_of
from streamstack_license_proxy.journal.errors import JournalDamagedError

MODE: Final = 0o600
MAX_KEY_BYTES: Final = 4096
_PATTERN: Final = "usage-*.key"


def make_key(folder: Path) -> tuple[str, Ed25519PrivateKey]:
    """Make a key and, with it, a journal's name; it lasts before this returns (fsync(2)).

    Raises:
        OSError: the folder cannot be written or has no space.

    """
    key = Ed25519PrivateKey.generate()
    journal_id = journal_id_of(key.public_key())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = _path(folder, journal_id)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    sync_folder(folder)
    return journal_id, key


def read_key(folder: Path, journal_id: str) -> Ed25519PrivateKey:
    """Return the key of a journal.

    Raises:
        JournalDamagedError: it is gone, or is another one.
        OSError: the file cannot be read.

    """
    path = _path(folder, journal_id)
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_KEY_BYTES)
    except FileNotFoundError:
        raise JournalDamagedError(f"{path}: no such file; the journal has no key without it") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise JournalDamagedError(f"{path}: expected a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey) or journal_id_of(key.public_key()) != journal_id:
        raise JournalDamagedError(f"{path}: it is not the key of journal {journal_id}")
    return key


def remove_other_keys(folder: Path, journal_id: str) -> None:
    """Remove the keys of journals that are no more; a key that an interrupted start left behind is one."""
    for path in folder.glob(_PATTERN):
        if path != _path(folder, journal_id):
            path.unlink(missing_ok=True)
    for draft in folder.glob(f".{_PATTERN}.*"):
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make new and removed names last through a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _path(folder: Path, journal_id: str) -> Path:
    return folder / f"usage-{journal_id}.key"
