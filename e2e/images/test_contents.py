"""What is in an image: its own package and what it needs, and nothing that could install, compile or open a shell."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from devcluster import product_images
from devcluster.docker import Docker

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images to be built

PACKAGES = {
    "gateway": "streamstack_gateway",
    "license-proxy": "streamstack_license_proxy",
    "license-authority": "streamstack_license_authority",
    "asr-sphinx": "streamstack_asr",
    "operator": "streamstack_operator",
}
EVERY = (*PACKAGES, "asr-lb")
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "perl", "env"}
INSTALLERS = {"pip", "pip3", "apt", "apt-get", "dpkg", "apk", "ensurepip", "setuptools", "wheel", "easy_install"}
COMPILERS = {"cc", "gcc", "g++", "make", "ld", "as", "go"}


@pytest.fixture(scope="module")
def files(docker: Docker, references: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Image name to its files by path from the root."""
    found = {}
    for name, reference in references.items():
        archive = tmp_path_factory.mktemp("export") / f"{name}.tar"
        container_id = docker.capture("create", reference).strip()
        try:
            docker.capture("export", "--output", archive, container_id)
        finally:
            docker.capture("rm", container_id)
        with tarfile.open(archive) as tar:
            found[name] = {member.name: member for member in tar}
        archive.unlink()
    return found


@pytest.fixture(scope="module")
def configurations(docker: Docker, references: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: json.loads(docker.capture("image", "inspect", "--format", "{{json .Config}}", reference))
        for name, reference in references.items()
    }


@pytest.mark.parametrize("image", PACKAGES)
def test_it_holds_its_own_package_and_the_common_one_alone(files: dict[str, Any], image: str) -> None:
    ours = {part for path in files[image] for part in PurePosixPath(path).parts if part.startswith("streamstack_")}
    assert ours == {PACKAGES[image], "streamstack_common"}


@pytest.mark.parametrize("image", PACKAGES)
def test_every_module_of_ours_and_of_the_standard_library_is_there_as_bytecode(
    files: dict[str, Any], image: str
) -> None:
    sources = [
        PurePosixPath(path)
        for path in files[image]
        if path.endswith(".py") and (path.startswith("app/") or path.endswith("/asyncio/base_events.py"))
    ]
    assert len(sources) > 10
    without = [
        path
        for path in sources
        if str(path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc") not in files[image]
    ]
    assert without == []


@pytest.mark.parametrize("image", EVERY)
def test_nothing_in_it_installs_or_compiles(files: dict[str, Any], image: str, *, local_base: bool) -> None:
    names = {PurePosixPath(path).name for path in files[image]}
    # A public base keeps its own package manager.
    assert names & (INSTALLERS if local_base else INSTALLERS - {"apt", "apt-get", "dpkg", "apk"}) == set()
    assert names & COMPILERS == set()


@pytest.mark.parametrize("image", EVERY)
def test_on_our_own_base_there_is_no_shell(files: dict[str, Any], image: str, *, local_base: bool) -> None:
    if not local_base:
        pytest.skip("the public base images have one")
    folders = {"bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/venv/bin"}
    programs = {PurePosixPath(path).name for path in files[image] if str(PurePosixPath(path).parent) in folders}
    assert programs & SHELLS == set()
    expected = {"nginx", "wget"} if image == "asr-lb" else {"python", "python3", "python3.11"}
    assert programs == expected


@pytest.mark.parametrize("image", EVERY)
def test_nothing_raises_privileges_and_only_temporary_folders_are_writable(files: dict[str, Any], image: str) -> None:
    assert [path for path, entry in files[image].items() if entry.mode & 0o6000 and entry.isfile()] == []
    writable = {path for path, entry in files[image].items() if entry.mode & 0o002 and not entry.issym()}
    assert writable <= {"tmp", "var/tmp"}
    owned = {path for path, entry in files[image].items() if entry.uid == 10001}
    assert owned <= {"var/lib/streamstack"}


@pytest.mark.parametrize("image", EVERY)
def test_nothing_of_the_build_is_left(files: dict[str, Any], image: str) -> None:
    left = [
        path for path in files[image] if path.startswith(("run/secrets", "root/.cache", "build", "wheelhouse", "mnt/"))
    ]
    assert left == []


def test_torch_is_not_in_the_image_for_the_cpu(files: dict[str, Any]) -> None:
    assert not any("/torch/" in path for path in files["asr-sphinx"])
    assert any("/pocketsphinx/" in path for path in files["asr-sphinx"])


@pytest.mark.parametrize("image", EVERY)
def test_it_is_labelled(configurations: dict[str, Any], image: str) -> None:
    labels = configurations[image]["Labels"]
    sources = product_images.IMAGES[image].sources
    assert labels["org.opencontainers.image.version"] == product_images.version()
    assert labels["org.opencontainers.image.revision"] == product_images.revision(sources, product_images.ROOT)
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert image in labels["org.opencontainers.image.title"].replace("streamstack ", "").replace(" ", "-")
    assert labels["org.opencontainers.image.description"]


@pytest.mark.parametrize("image", EVERY)
def test_it_starts_and_is_asked_for_its_health_without_a_shell(configurations: dict[str, Any], image: str) -> None:
    configuration = configurations[image]
    assert configuration["Healthcheck"]["Test"][0] == "CMD"
    assert configuration["Entrypoint"][0] in {"python", "nginx"}
    assert configuration["User"] == "10001:10001"
