"""``streamstack trial``: what Compose needs to run a stack without a vendor: a license of its own, and ``.env``."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamstack_cli import exit_codes, throwaway_license
from streamstack_cli.stack import SPHINX_SESSIONS_PER_CORE

LICENSE_NAME: Final = "license.jwt"
KEYS_NAME: Final = "license-keys.json"
SETTINGS_NAME: Final = ".env"
TEMPLATE_NAME: Final = ".env.example"

DAY_SECONDS: Final = 86_400
READABLE: Final = 0o644
"""License and public key: a container reads them as another user than the one who made them."""

PRIVATE: Final = 0o600
"""Settings: a key for usage tracking may be written there later."""

SPHINX_POOLS: Final = 2
"""English and multilingual share the cores."""


class TrialError(ValueError):
    """Nothing was written; the message names the file and what was expected."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a trial wrote: the license's two files, and ``.env`` unless there was one."""

    license_file: Path
    keys_file: Path
    settings_file: Path | None


def trial(folder: Path, *, days: int) -> int:
    """Prepare a folder for ``docker compose up``; the exit status. Says what was written, and what is still to do."""
    values = settings(cores=len(os.sched_getaffinity(0)))
    try:
        written = prepare(folder, days=days, values=values)
    except TrialError as error:
        sys.stderr.write(f"streamstack: {error}\n")
        return exit_codes.USAGE
    sys.stdout.write(
        f"{written.license_file}: a license for trying it out, valid for {days} days\n"
        f"{written.keys_file}: the public key it is checked with; the private one was thrown away\n"
    )
    if written.settings_file is not None:
        sys.stdout.write(f"{written.settings_file}: settings of compose.yaml\nnext: docker compose up --wait\n")
        return exit_codes.OK
    sys.stdout.write(
        f"{folder / SETTINGS_NAME} was there and stays as it is; see that it says:\n"
        + "".join(f"  {name}={value}\n" for name, value in values.items())
    )
    return exit_codes.OK


def settings(*, cores: int) -> dict[str, str]:
    """Return what ``.env`` says in a trial on a machine with so many cores."""
    return {
        "COMPOSE_PROFILES": "sphinx",
        "LICENSE_FILE_PATH": f"./{LICENSE_NAME}",
        "LICENSE_EXTRA_KEYS_FILE": f"./{KEYS_NAME}",
        "MAX_OPEN_STREAMS": str(max(1, SPHINX_SESSIONS_PER_CORE * cores // SPHINX_POOLS)),
    }


def prepare(folder: Path, *, days: int, values: Mapping[str, str]) -> Written:
    """Write the files; none that is there is touched.

    Raises TrialError: a license is there already, the folder cannot be written, or ``.env.example`` does not fit.
    """
    license_file, keys_file, settings_file = (folder / name for name in (LICENSE_NAME, KEYS_NAME, SETTINGS_NAME))
    for path in (license_file, keys_file):
        if path.exists():
            raise TrialError(f"{path} is there already: expected none; remove it, or choose another --folder")
    text = None if settings_file.exists() else fill(_template(folder), values)
    placed: list[Path] = []
    try:
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=folder) as drafts:
            made = throwaway_license.make(Path(drafts), lifetime_seconds=days * DAY_SECONDS)
            placed.append(_place(made.keys_file, keys_file, mode=READABLE))
            placed.append(_place(made.license_file, license_file, mode=READABLE))
            if text is not None:
                draft = Path(drafts) / SETTINGS_NAME
                draft.write_text(text, encoding="utf-8")
                placed.append(_place(draft, settings_file, mode=PRIVATE))
    except OSError as error:
        for path in placed:
            path.unlink(missing_ok=True)
        raise TrialError(f"{error.filename2 or error.filename or folder}: {error.strerror}") from error
    return Written(license_file, keys_file, None if text is None else settings_file)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Set variables in the text of ``.env.example``; each has one line there, commented or not. Raises TrialError."""
    text = template
    for name, value in values.items():
        line = re.compile(rf"^(?:# ?)?{re.escape(name)}=.*$", re.MULTILINE)
        if len(line.findall(text)) != 1:
            raise TrialError(f"{TEMPLATE_NAME}: expected one line with {name}=, commented or not")
        text = line.sub(lambda _, setting=f"{name}={value}": setting, text)  # type: ignore[misc]
    return text


def _template(folder: Path) -> str:
    path = folder / TEMPLATE_NAME
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TrialError(f"{path}: no such file: expected the folder of compose.yaml; --folder names it") from None
    except OSError as error:
        raise TrialError(f"{path}: {error.strerror}") from error


def _place(draft: Path, path: Path, *, mode: int) -> Path:
    """Give a finished file its name, whole or not at all; link(2) never replaces one."""
    draft.chmod(mode)
    os.link(draft, path)
    return path
