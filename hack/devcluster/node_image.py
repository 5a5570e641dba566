"""The image that a kind node runs: pulled where a registry answers, else made of Go modules and Debian packages."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster import gotools, node_contents, versions
from devcluster.cache import Cache, require_space
from devcluster.commands import run
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.machine import require_architecture
from devcluster.pulling import pulled
from devcluster.steps import Steps
from devcluster.undoing import deferred

BUILDING = "building a node image"
BUILD_GIGABYTES = 5.0
"""What a build takes at its peak: packages, archives and the image (measured: 1.6 GB beside the image's 1.3 GB)."""

PACKAGES = Path(__file__).resolve().parent.parent / "packages"
BUILDER = "streamstack-node-image-build"
BASE = "streamstack/node-base:build"
"""A container and an image that are there only while a node image is being built (one at a time, under a lock)."""
START_SECONDS = 30.0
COMMIT_SECONDS = 300.0
_FOLDER_PREFIX = ".node-image."


def node_image(docker: Docker, *, version: str, cache: Cache, steps: Steps) -> str:
    """Return the reference of an image for Kubernetes ``version`` ("v1.36.3") that is in the engine now.

    In this order: one that is there, one that a registry has, one that is built (only :data:`versions.KUBERNETES`,
    whose modules are pinned).
    """
    require_architecture()
    public = f"kindest/node:{version}"
    own = built_reference() if version == versions.KUBERNETES else None
    for reference in (public, own):
        if reference is not None and docker.image_id(reference):
            return reference
    reason = pulled(docker, public, steps=steps)
    if reason is None:
        return public
    if own is None:
        raise DevError(
            f"no registry gives {public} ({reason}), and only {versions.KUBERNETES} can be built here",
            do=f"use --k8s-version {versions.KUBERNETES}, or load {public} into the engine (`docker load`)",
        )
    steps.say(f"no registry gives {public} ({reason}): building one")
    return build(docker, cache=cache, steps=steps)


def built_reference() -> str:
    """Return the name of the image that this checkout builds: its tag is the hash of everything that goes into it."""
    return f"streamstack/node:{node_contents.key()}"


def is_built(reference: str) -> bool:
    """Tell whether a node image was built here: it has no pod network of its own, and no registry was there for it."""
    return reference.startswith("streamstack/")


def build(docker: Docker, *, cache: Cache, steps: Steps) -> str:
    """Build the node image where the engine has none of this content; return its reference.

    The tag is set by the last command, so an image of that name is whole. Whatever else was begun is removed at any
    ending, and what a killed build left is removed by the next one.
    """
    reference = built_reference()
    with cache.lock("node-image"):
        if docker.image_id(reference):
            return reference
        _remove_leftovers(docker, cache)
        programs = {name: gotools.build(name, cache=cache, steps=steps) for name in node_contents.PROGRAMS}
        _require_mmdebstrap(steps)
        require_space(cache.root, BUILD_GIGABYTES, purpose=BUILDING)
        require_engine_space(docker, BUILD_GIGABYTES, purpose=BUILDING)
        with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, dir=cache.root) as scratch:
            _build(docker, reference, programs=programs, folder=Path(scratch), steps=steps)
    return reference


def _build(docker: Docker, reference: str, *, programs: dict[str, Path], folder: Path, steps: Steps) -> None:
    rootfs, archive = folder / "node.tar", folder / "images.tar"
    with steps.step("writing the node's file system from Debian packages") as log:
        node_contents.write(rootfs, archive, programs=programs, folder=folder, log=log)
    with steps.step("making the node image") as log, _imported(docker, rootfs), _containerd(docker, log=log):
        node_contents.load(docker, archive, container=BUILDER, log=log)
        docker.capture("stop", BUILDER)
        with deferred():
            docker.capture(
                "commit", "--change", node_contents.IMAGE_CHANGE, BUILDER, reference, timeout_seconds=COMMIT_SECONDS
            )


@contextmanager
def _imported(docker: Docker, rootfs: Path) -> Iterator[None]:
    """Import a file system under a name that goes at any ending; what was committed on top of it keeps its layer."""
    try:
        with deferred():
            docker.capture(
                "import", "--change", node_contents.ROOTFS_CHANGE, rootfs, BASE, timeout_seconds=COMMIT_SECONDS
            )
        rootfs.unlink()
        yield
    finally:
        docker.attempt("rmi", BASE)


@contextmanager
def _containerd(docker: Docker, *, log: Path) -> Iterator[None]:
    """Run a node's containerd by itself: enough to take images in, needs no privileges."""
    try:
        with deferred():
            docker.capture(
                "run", "--detach", "--name", BUILDER, "--network", "none", "--tmpfs", "/run",
                "--entrypoint", "containerd", BASE, "--log-level", "warn",
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while docker.attempt("exec", BUILDER, "ctr", "version")[0] != 0:
            if time.monotonic() > deadline:
                docker.run("logs", BUILDER, log=log)
                raise DevError(f"containerd did not start within {START_SECONDS:g} s", do=f"read the log ({log})")
            time.sleep(0.2)
        yield
    finally:
        docker.attempt("rm", "--force", "--volumes", BUILDER)


def _require_mmdebstrap(steps: Steps) -> None:
    if shutil.which("mmdebstrap"):
        return
    if shutil.which("dpkg-query") is None:
        raise DevError(
            "no registry gives a node image, and building one needs mmdebstrap, which is not on this machine",
            do="install mmdebstrap and Debian's archive keyring, or let the Docker engine reach a registry",
        )
    with steps.step("installing mmdebstrap") as log:
        run((PACKAGES, "mmdebstrap"), log=log, do="run this as root, or install mmdebstrap first")


def require_engine_space(docker: Docker, gigabytes: float, *, purpose: str) -> None:
    """Refuse to begin what would fill the disk that an engine keeps its data on, where that is this machine's."""
    data = Path(docker.capture("info", "--format", "{{.DockerRootDir}}").strip())
    if data.exists():
        require_space(data, gigabytes, purpose=purpose)


def _remove_leftovers(docker: Docker, cache: Cache) -> None:
    docker.attempt("rm", "--force", "--volumes", BUILDER)
    docker.attempt("rmi", BASE)
    for folder in cache.root.glob(f"{_FOLDER_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
