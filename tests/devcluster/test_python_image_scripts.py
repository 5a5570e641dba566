"""What runs inside the build of a Python image, on folders laid out as the public base images are."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "images/python"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    library = tmp_path / "lib/python3.11"
    for path in (
        *("site-packages/pip/__init__.py", "site-packages/setuptools/__init__.py", "site-packages/README.txt"),
        *("ensurepip/_bundled/pip.whl", "test/test_os.py", "idlelib/idle.py", "json/__init__.py", "os.py"),
    ):
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        (library / path).write_text("")
    (tmp_path / "bin").mkdir()
    for name in ("python3.11", "pip", "pip3.11", "wheel", "idle3", "pydoc3.11", "2to3", "python3.11-config", "pipe"):
        (tmp_path / "bin" / name).touch()
    (tmp_path / "bin/python3").symlink_to("python3.11")
    return tmp_path


def test_a_public_base_loses_its_installers_and_gains_bytecode(prefix: Path) -> None:
    library = prefix / "lib/python3.11"
    script("interpreter").main(prefix, library)
    assert list((library / "site-packages").iterdir()) == []
    assert sorted(path.name for path in library.iterdir()) == ["__pycache__", "json", "os.py", "site-packages"]
    assert [path.name for path in (library / "json/__pycache__").iterdir()] == ["__init__.cpython-311.pyc"]
    # A tool that only begins like one of them is somebody else's.
    assert sorted(path.name for path in (prefix / "bin").iterdir()) == ["pipe", "python3", "python3.11"]


def test_bytecode_is_not_compared_with_its_source_at_run_time(prefix: Path) -> None:
    library = prefix / "lib/python3.11"
    script("interpreter").main(prefix, library)
    flags = (library / "__pycache__/os.cpython-311.pyc").read_bytes()[4:8]
    assert int.from_bytes(flags, "little") == 0b01, "hash-based, unchecked (PEP 552)"
