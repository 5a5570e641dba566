import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from devcluster.oci import Image, write_archive


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF")
    return path


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]


def test_every_blob_is_named_by_its_digest_and_leads_from_index_to_layers(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "images.tar"
    write_archive([Image("example.org/a:1", {"bin/a": program}, entrypoint=("/bin/a",))], archive)
    files = contents(archive)
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"

    def blob(descriptor: dict[str, str]) -> bytes:
        return files[descriptor["digest"].replace("sha256:", "blobs/sha256/")]

    (described,) = json.loads(files["index.json"])["manifests"]
    assert described["annotations"] == {"io.containerd.image.name": "example.org/a:1"}
    manifest = json.loads(blob(described))
    config = json.loads(blob(manifest["config"]))
    assert config["config"]["Entrypoint"] == ["/bin/a"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert all(len(blob(layer)) == layer["size"] for layer in manifest["layers"])


def test_a_layer_holds_programs_owned_by_root_and_links(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "images.tar"
    write_archive([Image("example.org/a:1", {"bin/a": program}, links={"bin/b": "a"})], archive)
    largest = max(contents(archive).items(), key=lambda item: len(item[1]) if item[0].startswith("blobs") else 0)
    layer = tmp_path / "layer.tar"
    layer.write_bytes(largest[1])
    with tarfile.open(layer) as tar:
        assert (tar.getmember("bin/a").mode, tar.getmember("bin/a").uid) == (0o755, 0)
        assert tar.getmember("bin/b").linkname == "a"
        assert tar.getmember("tmp").mode == 0o1777


def test_the_same_content_gives_the_same_bytes_whenever_it_is_written(tmp_path: Path, program: Path) -> None:
    image = Image("example.org/a:1", {"bin/a": program})
    write_archive([image], tmp_path / "first.tar")
    program.touch()
    write_archive([image], tmp_path / "second.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_a_layer_that_images_share_is_written_once(tmp_path: Path, program: Path) -> None:
    archive = tmp_path / "images.tar"
    write_archive([Image(f"example.org/{name}:1", {"bin/a": program}) for name in "ab"], archive)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    assert len(json.loads(contents(archive)["index.json"])["manifests"]) == 2
