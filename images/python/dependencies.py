"""Run in the build stage of a Python image: the pinned dependencies as a virtual environment without pip.

Expects `/requirements.txt` (with hashes), `/wheelhouse` (may hold wheels), `/pip-cache` (kept from build to build) and
perhaps the secret `ca`; makes `/opt/venv`. Only wheels are installed: nothing is compiled, so no build tool is needed,
and what an architecture has no wheel for is said by pip. Where `/pins.txt` is mounted too, torch is not among the
requirements: it is a build of the version pinned there, from the index TORCH_INDEX (else the wheelhouse), with the hash
TORCH_SHA256.
"""

import compileall
import os
import re
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
REQUIREMENTS = Path("/requirements.txt")
PINS = Path("/pins.txt")
OWN_TORCH = Path("/opt/torch.txt")

INSTALL = (
    "install", "--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--progress-bar=off",
    "--disable-pip-version-check", "--root-user-action=ignore", "--cache-dir=/pip-cache",
)  # fmt: skip


def main() -> int:
    """Make the environment; pip's own status when it fails."""
    if PINS.exists():
        OWN_TORCH.write_text(own_torch(PINS.read_text(), os.environ.get("TORCH_SHA256", "")))
    venv.create(TOOLS, with_pip=True)
    venv.create(VENV, with_pip=False, symlinks=True)
    wheels = ("--no-index", f"--find-links={WHEELHOUSE}") if any(WHEELHOUSE.glob("*.whl")) else ()
    status = _install(REQUIREMENTS, *wheels)
    if status == 0 and PINS.exists():
        index = os.environ.get("TORCH_INDEX", "")
        status = _install(OWN_TORCH, *((f"--index-url={index}",) if index else wheels))
    if status == 0:
        _tidy()
    return status


def own_torch(pins: str, sha256: str) -> str:
    """Return the requirement of a build of torch that the pins do not have; exits where it cannot be told."""
    found = re.search(r"^torch==([\w.]+)", pins, re.MULTILINE)
    if found is None:
        sys.exit("the pins name no torch")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        sys.exit(
            f"TORCH_SHA256 is {sha256!r}, expected the SHA-256 of a wheel of torch {found[1]} for the CPU, which "
            "TORCH_INDEX or images/wheelhouse has (images/wheelhouse/README.md)"
        )
    return f"torch=={found[1]} --hash=sha256:{sha256}\n"


def _install(requirements: Path, *options: str) -> int:
    certificates = {"PIP_CERT": str(CERTIFICATES)} if CERTIFICATES.exists() else {}
    pip = [TOOLS / "bin/pip", f"--python={VENV / 'bin/python'}", *INSTALL]
    command = [*pip, f"--requirement={requirements}", *options]
    return subprocess.run(command, check=False, env={**os.environ, **certificates}).returncode  # noqa: S603 - pip


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
