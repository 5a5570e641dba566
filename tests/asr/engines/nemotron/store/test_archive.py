import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store.archive import Bounds, unpack

Files = Mapping[str, bytes]
FILES = {"config.json": b"{}", "deep/er/model.safetensors": bytes(range(256)) * 5000, "empty": b""}


def tar(path: Path, files: Files, mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as made:
        for entry in extra:
            made.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o6777
            made.addfile(entry, io.BytesIO(content))
    return path


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("deep/", "")
        for name, content in files.items():
            made.writestr(name, content)
    return path


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def unpacked(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inside"
    made.mkdir()
    return made


def refused(archive: Path, folder: Path, bounds: Bounds | None = None) -> str:
    with pytest.raises(ModelError) as raised:
        unpack(archive, folder, **({"bounds": bounds} if bounds else {}))
    assert {path.name for path in folder.parent.iterdir()} <= {archive.name, folder.name}
    return str(raised.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: tar(path, FILES),
        lambda path: tar(path, FILES, "w:gz"),
        lambda path: tar(path, FILES, "w:xz"),
        lambda path: tar(path, FILES, "w:bz2"),
        lambda path: zipped(path, FILES),
    ],
    ids=["tar", "gz", "xz", "bz2", "zip"],
)
def test_an_archive_of_each_kind_is_unpacked(tmp_path: Path, folder: Path, make: Callable[[Path], Path]) -> None:
    unpack(make(tmp_path / "archive"), folder)
    assert unpacked(folder) == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o644}


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", "a\\..\\outside", "c:outside", "a\nb"])
@pytest.mark.parametrize("make", [tar, zipped])
def test_nothing_is_written_outside_the_folder(
    tmp_path: Path, folder: Path, name: str, make: Callable[[Path, Files], Path]
) -> None:
    assert "expected paths within the folder" in refused(make(tmp_path / "archive", {name: b"x"}), folder)
    assert unpacked(folder) == {}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "neither file nor folder"),
        (tarfile.BLKTYPE, "neither file nor folder"),
        (tarfile.FIFOTYPE, "neither file nor folder"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, folder: Path, kind: bytes, said: str) -> None:
    archive = tar(tmp_path / "archive", {}, extra=(entry("model", kind, "/etc"),))
    assert f"'model' is {said}, expected files and folders alone" in refused(archive, folder)


def test_a_link_in_a_zip_is_refused(tmp_path: Path, folder: Path) -> None:
    link = zipfile.ZipInfo("model")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as made:
        made.writestr(link, "/etc")
    assert "'model' is a link or a device" in refused(tmp_path / "archive", folder)


def test_a_file_that_comes_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tar(tmp_path / "archive", {"a": b"x", "./a": b"y"})
    assert "has 'a' twice" in refused(archive, folder)


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, folder: Path) -> None:
    assert "'a' is a file and a folder" in refused(tar(tmp_path / "archive", {"a": b"x", "a/b": b"y"}), folder)


@pytest.mark.parametrize("make", [tar, zipped])
def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, folder: Path, make: Callable[[Path, Files], Path]) -> None:
    bomb = make(tmp_path / "archive", {"a": bytes(1000), "b": bytes(4 << 20)})
    assert "unpacks to more than is allowed" in refused(bomb, folder, Bounds(size_bytes=100_000))
    assert sum(len(content) for content in unpacked(folder).values()) <= 100_000


def test_too_many_files_and_too_long_paths_are_refused(tmp_path: Path, folder: Path) -> None:
    archive = tar(tmp_path / "archive", {str(number): b"" for number in range(4)})
    assert "more than 3 files" in refused(archive, folder, Bounds(members=3))
    assert "expected shorter paths" in refused(tar(archive, {"/".join("abcd") + "/x": b""}), folder, Bounds(depth=4))
    assert "expected shorter paths" in refused(tar(archive, {"é" * 128: b""}), folder)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_an_archive_that_ends_early_or_is_damaged_is_refused(tmp_path: Path, folder: Path, mode: str) -> None:
    archive = tar(tmp_path / "archive", FILES, mode)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 3])
    assert "cannot be unpacked" in refused(archive, folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08", b"PK\x05\x06", bytes(1024)])
def test_what_is_no_archive_is_refused(tmp_path: Path, folder: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    try:
        unpack(tmp_path / "archive", folder)
    except ModelError as error:
        assert "expected a whole tar or zip" in str(error)  # noqa: PT017 - some are archives of nothing
    assert unpacked(folder) == {}


@given(data=st.data(), kind=st.sampled_from(["w", "w:gz", "zip"]))
@settings(max_examples=150, deadline=None)
def test_a_damaged_archive_stays_in_its_folder_and_is_refused_by_a_model_error(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("damaged")
    folder = base / "inside"
    folder.mkdir()
    files = {"model/config.json": b"{}" * 40, "model/b": bytes(600)}
    archive = zipped(base / "archive", files) if kind == "zip" else tar(base / "archive", files, kind)
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    with suppress(ModelError):
        unpack(archive, folder)
    assert {path.name for path in base.iterdir()} == {"archive", "inside"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


PARTS = st.sampled_from(["a", "b", "..", ".", "", "/", "c" * 40, "\x00", "\\", "ü"])


@given(parts=st.lists(PARTS, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_whatever_a_file_is_called_it_lies_within_the_folder_or_is_refused(
    parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("named")
    folder = base / "a" / "inside"
    folder.mkdir(parents=True)
    name = "/".join(parts)
    archive = tar(base / "archive", {name: b"x"})
    try:
        unpack(archive, folder)
    except ModelError:
        return
    assert [path for path in base.rglob("*") if path.is_file() and not path.is_relative_to(folder)] == [archive]
    assert len(unpacked(folder)) == 1
    assert ".." not in PurePosixPath(name.partition("\0")[0]).parts  # a name in a tar ends there
