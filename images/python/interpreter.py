"""Run in the last stage of a Python image: its base's interpreter, without an installer and with bytecode.

The public base images carry pip, setuptools and ensurepip, and no bytecode of the standard library; nothing could write
it later, because the root is read-only. All images share the layer this makes.
"""

import compileall
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

# What no service imports: another interface, other people's tests, installers.
UNUSED = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo")


def main(prefix: Path, library: Path) -> None:
    """Take the installers out of ``prefix`` and compile ``library``, the standard library."""
    for folder in (prefix / "lib").glob("python3*/*-packages"):
        for path in folder.iterdir():
            _remove(path)
    for path in (prefix / "bin").glob("*"):
        if re.fullmatch(r"(pip|wheel|idle|pydoc|2to3)[\d.]*|2to3-[\d.]+|python[\d.]*-config", path.name):
            _remove(path)
    for name in UNUSED:
        _remove(library / name)
    compileall.compile_dir(library, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.prefix), Path(sysconfig.get_path("stdlib")))
