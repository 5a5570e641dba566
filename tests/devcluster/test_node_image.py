import sys
from pathlib import Path

import pytest

from devcluster import node_contents, node_image, versions
from devcluster.cache import Cache
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.steps import Steps

PUBLIC = f"kindest/node:{versions.KUBERNETES}"

# An engine that has some images, reaches a registry that has some, fails at one command, and writes down what it did.
ENGINE = """#!{python}
import pathlib, sys
asked = sys.argv[1:]
with pathlib.Path({asked!r}).open("a") as log:
    print(*asked, file=log)
if asked[0] == {fails!r}:
    sys.exit("no space left on device")
if asked[:2] == ["image", "inspect"]:
    print("sha256:1")
    sys.exit(0 if asked[-1] in {has!r} else 1)
if asked[0] == "pull":
    sys.exit(0 if asked[-1] in {registry!r} else "Error response from daemon: no such host")
if asked[0] == "info":
    print("/")
if asked[-3:] == ["ctr", "oci", "spec"]:
    print('{{"process": {{"rlimits": [], "args": []}}}}')
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache.logs)


def engine(folder: Path, *, has: tuple[str, ...] = (), registry: tuple[str, ...] = (), fails: str = "") -> Docker:
    program = folder / "docker"
    asked = str(folder / "asked")
    program.write_text(ENGINE.format(python=sys.executable, asked=asked, has=has, registry=registry, fails=fails))
    program.chmod(0o755)
    return Docker(binary=str(program), version="20.10.24")


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs and packages that are there at once; everything after them is real."""

    def write(rootfs: Path, archive: Path, **_others: object) -> None:
        rootfs.write_text("files")
        archive.write_text("images")

    monkeypatch.setattr(node_contents, "write", write)
    monkeypatch.setattr(node_image.gotools, "build", lambda name, *, cache, steps: tmp_path / name)
    monkeypatch.setattr(node_image.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.parametrize("there", [PUBLIC, node_image.built_reference()])
def test_an_image_that_is_there_is_taken_without_asking_anybody(
    tmp_path: Path, cache: Cache, steps: Steps, there: str
) -> None:
    docker = engine(tmp_path, has=(there,))
    assert node_image.node_image(docker, version=versions.KUBERNETES, cache=cache, steps=steps) == there
    assert not any(line.startswith(("pull", "import")) for line in asked(tmp_path))


def test_a_registry_is_asked_before_anything_is_built(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    docker = engine(tmp_path, registry=(PUBLIC,))
    assert node_image.node_image(docker, version=versions.KUBERNETES, cache=cache, steps=steps) == PUBLIC
    assert not any(line.startswith("import") for line in asked(tmp_path))


@pytest.mark.usefixtures("quick")
def test_without_a_registry_it_is_built_and_named_by_its_content_at_the_very_end(
    tmp_path: Path, cache: Cache, steps: Steps
) -> None:
    docker = engine(tmp_path)
    reference = node_image.node_image(docker, version=versions.KUBERNETES, cache=cache, steps=steps)
    assert reference == node_image.built_reference() == f"streamstack/node:{node_contents.key()}"
    naming = [number for number, line in enumerate(asked(tmp_path)) if reference in line and "inspect" not in line]
    loading = [number for number, line in enumerate(asked(tmp_path)) if "images import" in line]
    assert len(naming) == 1
    assert naming[0] > loading[-1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fails", ["import", "run", "exec", "stop", "commit"])
def test_a_build_that_fails_leaves_neither_its_container_nor_its_base_nor_its_folder(
    tmp_path: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(node_image, "START_SECONDS", 0)
    docker = engine(tmp_path, fails=fails)
    with pytest.raises(DevError):
        node_image.build(docker, cache=cache, steps=steps)
    last = asked(tmp_path)[-2:]
    assert last[-1] == f"rmi {node_image.BASE}"
    assert fails == "import" or last[0] == f"rm --force --volumes {node_image.BUILDER}"
    assert not list(cache.root.glob(".node-image.*"))


def test_another_version_needs_a_registry_and_the_error_names_what_can_be_built(
    tmp_path: Path, cache: Cache, steps: Steps
) -> None:
    with pytest.raises(DevError, match=f"only {versions.KUBERNETES} can be built here") as caught:
        node_image.node_image(engine(tmp_path), version="v1.33.1", cache=cache, steps=steps)
    assert "kindest/node:v1.33.1" in caught.value.what


def test_whatever_goes_into_the_image_changes_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = node_contents.key()
    monkeypatch.setattr(node_contents.gotools, "tool_key", lambda name: f"another {name}")
    assert node_contents.key() != before
