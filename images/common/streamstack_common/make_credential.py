"""``python -m streamstack_common.make_credential PATH...``: random tokens in files, each made once.

For stacks without an operator: Compose runs it before every other service. A file that is there is kept, so that a
restarted stack keeps its credential; it appears whole or not at all, and two that make it at the same time agree.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streamstack_common.credential import Credential, CredentialError

TOKEN_BYTES: Final = 32
"""43 characters: enough for a bearer token, and for the key of temporary tokens (RFC 7518 3.2)."""

MODE: Final = 0o400
"""For the user that runs it alone: the services run as the same one."""


def make(path: Path) -> bool:
    """Make sure that a usable credential file is at ``path``; whether it had to be made.

    The folder must exist. Raises CredentialError: the folder or file cannot be used; the message never holds a token.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        if path.exists():
            _require_usable(path)
            return False
        try:
            _write(draft, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            # Not rename(2): it would replace the file of one that was a moment earlier.
            os.link(draft, path)
        except FileExistsError:
            _require_usable(path)
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise CredentialError(
            f"credential file {path}: {error.strerror}: expected a folder that user {os.getuid()} may write"
        ) from error
    return True


def main(argv: Sequence[str]) -> int:
    """Make every file named; 0, or 2 when one cannot be made or used, with the reason on standard error."""
    if not argv:
        sys.stderr.write("usage: python -m streamstack_common.make_credential PATH...\n")
        return 2
    for argument in argv:
        try:
            made = make(Path(argument))
        except CredentialError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        sys.stdout.write(f"{argument}: {'made' if made else 'kept'}\n")
    return 0


def _require_usable(path: Path) -> None:
    """Raise CredentialError for a file that no service would start with."""
    try:
        Credential(path)
    except CredentialError as error:
        raise CredentialError(f"{error}; remove it to have a new one made") from error


def _write(draft: Path, content: str) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name last through a power cut (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
