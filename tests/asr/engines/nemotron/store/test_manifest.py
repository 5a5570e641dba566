import json
import os
from pathlib import Path
from typing import Any

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import files, manifest
from support import model_folders


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folders.write_model(tmp_path / "model")


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read through, as they are."""
    seen: list[str] = []
    hashed = files.sha256

    def watched(path: Path) -> str:
        seen.append(path.name)
        return hashed(path)

    monkeypatch.setattr(files, "sha256", watched)
    return seen


def written(model: Path) -> manifest.Manifest:
    (model / manifest.NAME).write_bytes(manifest.make(model, model="owner/small", license_="MIT").as_json())
    read = manifest.read(model)
    assert read is not None
    return read


def test_what_is_written_is_what_is_read(model: Path) -> None:
    (model / "extra").mkdir()
    (model / "extra" / "notes.txt").write_text("hello")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").touch()
    read = written(model)
    assert read == manifest.make(model, model="owner/small", license_="MIT")
    assert set(read.files) == {"config.json", "tokenizer.json", "model.safetensors", "extra/notes.txt"}
    assert read.files["extra/notes.txt"].size_bytes == 5
    assert (read.model, read.license) == ("owner/small", "MIT")
    manifest.verify(model, read)


def test_the_digest_is_the_models_wherever_it_lies_and_whatever_is_said_of_it(model: Path, tmp_path: Path) -> None:
    other = model_folders.write_model(tmp_path / "other")
    assert manifest.make(model, model="a").digest == manifest.make(other, model="b").digest
    model_folders.write_json(other / "generation_config.json", {})
    assert manifest.make(model).digest != manifest.make(other).digest


def test_a_file_that_differs_is_named(model: Path) -> None:
    read = written(model)
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model.safetensors: SHA-256 is .* by manifest.json: corrupt or replaced"):
        manifest.verify(model, read)
    path.write_bytes(content[:-1])
    with pytest.raises(ModelError, match=rf"truncated: {len(content) - 1} bytes, expected {len(content)} by manifest"):
        manifest.verify(model, read)
    path.unlink()
    with pytest.raises(ModelError, match=r"model.safetensors: missing, expected"):
        manifest.verify(model, read)


def test_what_was_verified_is_not_read_again(model: Path, tmp_path: Path, read_files: list[str]) -> None:
    read = written(model)
    read_files.clear()
    manifest.verify(model, read, verdicts=tmp_path / "verdicts")
    assert sorted(read_files) == sorted(read.files)
    read_files.clear()
    manifest.verify(model, read, verdicts=tmp_path / "verdicts")
    assert read_files == []
    manifest.verify(model, read, verdicts=tmp_path / "verdicts", full=True)
    assert sorted(read_files) == sorted(read.files)


@pytest.mark.parametrize("how", ["rewritten", "replaced", "touched"])
def test_a_file_that_changed_since_is_read_again(model: Path, tmp_path: Path, read_files: list[str], how: str) -> None:
    read = written(model)
    manifest.verify(model, read, verdicts=tmp_path)
    read_files.clear()
    path = model / "model.safetensors"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if how == "replaced":  # another inode, its times as they were
        path.rename(model / "earlier")
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "rewritten":
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    if how == "touched":
        manifest.verify(model, read, verdicts=tmp_path)
        assert "model.safetensors" in read_files
    else:
        with pytest.raises(ModelError, match="corrupt or replaced"):
            manifest.verify(model, read, verdicts=tmp_path)


def test_a_verdict_is_of_one_manifest(model: Path, tmp_path: Path) -> None:
    read = written(model)
    manifest.verify(model, read, verdicts=tmp_path)
    wrong = {**read.files, "config.json": manifest.Entry(read.files["config.json"].size_bytes, "0" * 64)}
    with pytest.raises(ModelError, match=r"config.json: SHA-256"):
        manifest.verify(model, manifest.Manifest(wrong), verdicts=tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"manifest": 3}'])
def test_a_verdict_that_cannot_be_read_is_none(
    model: Path, tmp_path: Path, read_files: list[str], content: bytes
) -> None:
    read = written(model)
    manifest.verify(model, read, verdicts=tmp_path / "verdicts")
    (kept,) = (tmp_path / "verdicts").iterdir()
    kept.write_bytes(content)
    read_files.clear()
    manifest.verify(model, read, verdicts=tmp_path / "verdicts")
    assert sorted(read_files) == sorted(read.files)


def test_a_store_that_cannot_be_written_only_costs_time(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    manifest.verify(model, written(model), verdicts=tmp_path / "file" / "verdicts")


def test_a_folder_without_a_manifest_has_none(model: Path) -> None:
    assert manifest.read(model) is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, "version is 2, expected 1"),
        ({"files": {}}, "files is {}, expected names with size and sha256"),
        ({"files": {"../config.json": {"size": 1, "sha256": "0" * 64}}}, "expected paths within the folder"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": "0" * 64}}}, "expected paths within the folder"),
        ({"files": {"config.json": {"size": -1, "sha256": "0" * 64}}}, "expected its size and sha256"),
        ({"files": {"config.json": {"size": 1, "sha256": "zz"}}}, "expected its size and sha256"),
        ({"license": 3}, "license is 3, expected text"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(model: Path, change: dict[str, Any], complaint: str) -> None:
    whole = json.loads(manifest.make(model).as_json())
    (model / manifest.NAME).write_text(json.dumps({**whole, **change}))
    with pytest.raises(ModelError) as raised:
        manifest.read(model)
    assert complaint in str(raised.value)
