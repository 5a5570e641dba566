"""Run in the build stage of a Python image: the pinned dependencies as a virtual environment without pip.

Expects `/requirements.txt` (with hashes), `/wheelhouse` (may hold wheels), `/pip-cache` (kept from build to build) and
perhaps the secret `ca`; makes `/opt/venv`. Only wheels are installed: nothing is compiled, so no build tool is needed,
and what an architecture has no wheel for is said by pip.
"""

import compileall
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from py_compile import PycInvalidationMode

VENV = Path("/opt/venv")
TOOLS = Path("/opt/pip")
WHEELHOUSE = Path("/wheelhouse")
CERTIFICATES = Path("/run/secrets/ca")

INSTALL = (
    "install", "--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--progress-bar=off",
    "--disable-pip-version-check", "--root-user-action=ignore", "--cache-dir=/pip-cache",
    "--requirement=/requirements.txt",
)  # fmt: skip


def main() -> int:
    """Make the environment; pip's own status when it fails."""
    venv.create(TOOLS, with_pip=True)
    venv.create(VENV, with_pip=False, symlinks=True)
    wheels = ("--no-index", f"--find-links={WHEELHOUSE}") if any(WHEELHOUSE.glob("*.whl")) else ()
    certificates = {"PIP_CERT": str(CERTIFICATES)} if CERTIFICATES.exists() else {}
    command = [TOOLS / "bin/pip", f"--python={VENV / 'bin/python'}", *INSTALL, *wheels]
    status = subprocess.run(command, check=False, env={**os.environ, **certificates}).returncode  # noqa: S603 - pip
    if status == 0:
        _tidy()
    return status


def _tidy() -> None:
    """Leave the interpreter and the packages, without scripts and tests, with bytecode: the root will be read-only."""
    for path in (VENV / "bin").iterdir():
        if not path.name.startswith("python"):
            path.unlink()
    shutil.rmtree(VENV / "include")
    for folder in sorted((VENV / "lib").rglob("tests"), reverse=True):
        shutil.rmtree(folder)
    # A file that cannot be compiled (a template, another version's syntax) is not imported either.
    compileall.compile_dir(VENV / "lib", quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    sys.exit(main())
