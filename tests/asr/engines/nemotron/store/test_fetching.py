"""One archive, many processes, and what is left of those that die."""

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import archive, files, manifest
from streamstack_asr.engines.nemotron.store.download import Source
from streamstack_asr.engines.nemotron.store.fetching import Fetcher
from support import model_folders
from support.archive_server import Served, pack, serving

COMMAND = [sys.executable, "-m", "streamstack_asr.engines.nemotron.store", "fetch"]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    base = tmp_path_factory.mktemp("packed")
    return pack(model_folders.write_model(base / "model"), base / "small.tar.gz")


@pytest.fixture
def served(content: bytes) -> Iterator[Served]:
    with serving(Served(content)) as it:
        yield it


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def wanted(served: Served) -> Source:
    return Source(served.url, served.sha256)


def left(store: Path) -> set[str]:
    """What is in the store, whole models and locks left out."""
    own = store / ".streamstack"
    found = (path.relative_to(own) for path in own.rglob("*"))
    return {str(path) for path in found if path.parts[0] not in {"archives", "locks"} and len(path.parts) > 1}


def start(served: Served, store: Path) -> "subprocess.Popen[str]":
    environment = {"MODEL_ARCHIVE": served.url, "MODEL_ARCHIVE_SHA256": served.sha256, "MODEL_STORE": str(store)}
    return subprocess.Popen(
        COMMAND, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def until_said(pipe: IO[str] | None, words: str) -> None:
    assert pipe is not None
    assert any(words in line for line in pipe)


def test_a_model_is_fetched_once_and_is_then_there(served: Served, store: Path) -> None:
    fetcher = Fetcher(store)
    folder = fetcher.model(wanted(served))
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "tokenizer.json", "model.safetensors", "manifest.json"),
    }
    assert fetcher.model(wanted(served)) == folder
    assert len(served.requests) == 1
    assert left(store) == set()


def test_its_files_are_vouched_for_from_then_on(served: Served, store: Path) -> None:
    folder = Fetcher(store).model(wanted(served))
    stated = manifest.read(folder)
    assert stated is not None
    assert set(stated.files) == {"config.json", "tokenizer.json", "model.safetensors"}
    manifest.verify(folder, stated)


def test_a_manifest_that_the_archive_brings_is_kept(tmp_path: Path, store: Path) -> None:
    model = model_folders.write_model(tmp_path / "model")
    own = manifest.make(model, model="owner/small", license_="MIT")
    (model / manifest.NAME).write_bytes(own.as_json())
    content = pack(model, tmp_path / "small.tar.gz", within=".")
    source = Source((tmp_path / "small.tar.gz").as_uri(), hashlib.sha256(content).hexdigest())
    assert manifest.read(Fetcher(store).model(source)) == own


def test_offline_uses_what_is_there_and_never_connects(served: Served, store: Path) -> None:
    offline = Fetcher(store, offline=True)
    with pytest.raises(ModelError) as raised:
        offline.model(wanted(served))
    assert "MODEL_OFFLINE forbids to fetch http://127.0.0.1/models/small.tar.gz" in str(raised.value)
    assert served.requests == []
    assert not store.exists()
    folder = Fetcher(store).model(wanted(served))
    served.requests.clear()
    assert offline.model(wanted(served)) == folder
    assert served.requests == []


def test_an_archive_without_a_model_leaves_nothing(tmp_path: Path, store: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a").touch()
    (tmp_path / "other" / "b").touch()
    content = pack(tmp_path / "other", tmp_path / "other.tar")
    source = Source((tmp_path / "other.tar").as_uri(), hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match=r"has no config.json at its top, expected a model folder"):
        Fetcher(store).model(source)
    assert left(store) == set()
    assert list((store / ".streamstack/archives").iterdir()) == []


def test_an_archive_beyond_its_bounds_leaves_nothing(served: Served, store: Path) -> None:
    with pytest.raises(ModelError, match="unpacks to more than is allowed"):
        Fetcher(store, bounds=archive.Bounds(size_bytes=100)).model(wanted(served))
    assert left(store) == set()
    assert list((store / ".streamstack/archives").iterdir()) == []


def test_a_disk_that_is_full_while_unpacking_gets_its_space_back(
    served: Served, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(archive.os, "fsync", full)
        with pytest.raises(ModelError, match=r"no space left .* expected room for the archive and what is in it"):
            Fetcher(store).model(wanted(served))
    assert left(store) == set()
    assert Fetcher(store).model(wanted(served)).is_dir()


def test_a_store_that_cannot_be_written_is_named(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=rf"{tmp_path}/file: cannot keep the model of .*: Not a directory"):
        Fetcher(tmp_path / "file").model(wanted(served))


def test_processes_that_start_together_fetch_it_once(served: Served, store: Path) -> None:
    served.gate = threading.Event()
    first = start(served, store)
    until_said(first.stderr, "fetching")
    others = [start(served, store) for _ in range(3)]
    for other in others:
        until_said(other.stderr, "another process is fetching this archive")
    served.gate.set()
    said = {process.communicate(timeout=60)[0] for process in (first, *others)}
    assert said == {f"{store}/.streamstack/archives/{served.sha256}\n"}
    assert {process.returncode for process in (first, *others)} == {0}
    assert len(served.requests) == 1


def test_what_a_killed_process_began_the_next_one_ends(served: Served, store: Path) -> None:
    served.gate = threading.Event()
    killed = start(served, store)
    until_said(killed.stderr, "fetching")
    waiting = start(served, store)
    until_said(waiting.stderr, "another process is fetching this archive")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    served.gate.set()
    out, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, f"{store}/.streamstack/archives/{served.sha256}\n"), said
    assert left(store) - {f"verdicts/{path.name}" for path in (store / ".streamstack/verdicts").iterdir()} == set()


def test_what_a_killed_process_was_unpacking_is_thrown_away(served: Served, store: Path, content: bytes) -> None:
    partial = store / ".streamstack/partial"
    (partial / f"{served.sha256}.new" / "small").mkdir(parents=True)
    (partial / f"{served.sha256}.new" / "small" / "config.json").write_text("half of it")
    (partial / served.sha256).write_bytes(content)
    folder = Fetcher(store).model(wanted(served))
    assert (folder / "config.json").read_text().startswith("{")
    assert served.requests == []  # the archive itself was whole
    assert left(store) == set()


def test_a_lock_that_nobody_holds_holds_nobody_up(served: Served, store: Path) -> None:
    locks = store / ".streamstack/locks"
    locks.mkdir(parents=True)
    (locks / served.sha256).write_text("left by a process of another boot")
    assert Fetcher(store).model(wanted(served)).is_dir()
    with (locks / served.sha256).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(tmp_path / "a", b"before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "a", b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
