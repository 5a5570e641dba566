"""Files that are written once: whole, private, and never over another."""

import errno
import os
import stat
from pathlib import Path

import pytest

from streamstack_cli import files


def test_a_new_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        files.write_new(tmp_path / "key", b"secret")
    finally:
        os.umask(umask)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("dangling", [True, False])
def test_what_is_there_is_never_replaced_not_even_a_link_to_nowhere(tmp_path: Path, dangling: bool) -> None:
    path = tmp_path / "key"
    if dangling:
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("mine")
    for attempt in (lambda: files.check_new(path), lambda: files.write_new(path, b"other")):
        with pytest.raises(files.FileError, match="is there already"):
            attempt()
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    assert dangling or path.read_text() == "mine"


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with files.new_file(tmp_path / "usage") as file:
            file.write(b"half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_said_of_the_file(tmp_path: Path) -> None:
    def fail() -> None:
        with files.new_file(tmp_path / "usage"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(files.FileError, match=f"{tmp_path / 'usage'}: No space left on device"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("folder", "problem"), [("nowhere", "is no folder"), ("file", "is no folder")])
def test_a_folder_that_takes_no_file_is_told_before_anything_is_written(
    tmp_path: Path, folder: str, problem: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(files.FileError, match=problem):
        files.check_new(tmp_path / folder / "key")


def test_a_replacement_is_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "usage.receipt"
    for content in (b"first", b"second"):
        files.replace(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["usage.receipt"]


def test_a_read_stops_at_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert files.read(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(files.OversizedError, match="expected at most 4 bytes"):
        files.read(tmp_path / "file", limit=4)
