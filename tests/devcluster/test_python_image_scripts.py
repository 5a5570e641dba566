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


def test_a_torch_of_another_index_is_the_pinned_version_with_a_hash_of_its_own() -> None:
    dependencies = script("dependencies")
    pins = "tokenizers==0.23.3 \\\n    --hash=sha256:00\ntorch==2.15.0 \\\n    --hash=sha256:11\n"
    assert dependencies.own_torch(pins, "ab" * 32) == f"torch==2.15.0 --hash=sha256:{'ab' * 32}\n"
    with pytest.raises(SystemExit, match=r"TORCH_SHA256 is '', expected the SHA-256 of a wheel of torch 2.15.0"):
        dependencies.own_torch(pins, "")
    with pytest.raises(SystemExit, match="the pins name no torch"):
        dependencies.own_torch("tokenizers==1\n", "ab" * 32)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context/models/small"
    (folder / "extra").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "extra/notes.txt", ".hidden"):
        (folder / name).write_text(name)
    (folder / "model.safetensors").symlink_to("config.json")
    (folder / "config.json").chmod(0o600)
    return tmp_path / "context"


def test_a_model_of_the_context_is_baked_for_everyone_to_read(context: Path, tmp_path: Path) -> None:
    script("model").main(context, tmp_path / "baked", "models/small")
    baked = tmp_path / "baked/default"
    files = {str(path.relative_to(baked)): path for path in baked.rglob("*") if path.is_file()}
    assert set(files) == {"config.json", "tokenizer.json", "extra/notes.txt", "model.safetensors"}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}
    assert not files["model.safetensors"].is_symlink()


def test_without_a_name_no_model_is_baked(context: Path, tmp_path: Path) -> None:
    script("model").main(context, tmp_path / "baked", "")
    assert list((tmp_path / "baked").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("models/none", "expected a folder of the build's context"),
        ("../context/models/small/../../..", "expected a folder of the build's context"),
        ("models", "which has no config.json, tokenizer.json: expected a model folder"),
    ],
)
def test_a_folder_that_cannot_be_baked_ends_the_build(context: Path, tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(SystemExit, match=complaint):
        script("model").main(context, tmp_path / "baked", name)
