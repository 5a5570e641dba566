"""A client of the session's cluster, a namespace to work in, and an image that has a shell."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.cache import Cache
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.kube import Kube
from devcluster.oci import write_layer

ROOT = Path(__file__).resolve().parents[2]
HACK = ROOT / "hack/cluster"
NAMESPACE = "cluster-tests"
COMMANDS = ("cat", "echo", "httpd", "id", "nc", "nslookup", "sh", "sleep")

MakeImage = Callable[[str, str], str]
"""Makes an image with a name and a word in its file `/word`; returns its reference."""


def hack_cluster(*arguments: str, seconds: float = 600) -> "subprocess.CompletedProcess[str]":
    """Run `hack/cluster`; its status and what it said."""
    return subprocess.run([HACK, *arguments], capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture(scope="session")
def kube(cluster: ClusterFacts) -> Iterator[Kube]:
    """Yield a client of the session's cluster, with an empty namespace."""
    client = Kube(cluster.kubectl, cluster.kubeconfig)
    client.capture("create", "namespace", NAMESPACE)
    yield client
    client.capture("delete", "namespace", NAMESPACE, timeout_seconds=120)


@pytest.fixture(scope="session")
def make_image(engine: Docker, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeImage]:
    if not Path("/bin/busybox").exists():
        if os.geteuid() != 0:
            pytest.skip("busybox-static is not installed, and only root can install it")
        subprocess.run([ROOT / "hack/packages", "busybox-static"], check=True)
    folder = tmp_path_factory.mktemp("image")
    made = []

    def make(name: str, word: str) -> str:
        (folder / "word").write_text(word)
        shutil.copy("/bin/busybox", folder / "busybox")
        layer = folder / "layer.tar"
        write_layer(
            {"bin/busybox": folder / "busybox", "word": folder / "word"},
            layer,
            links={f"bin/{command}": "busybox" for command in COMMANDS},
        )
        reference = f"streamstack-e2e/{name}:1"
        made.append(engine.capture("import", "--change", "ENV PATH=/bin", layer, reference).strip())
        return reference

    yield make
    # By their ids: the name of one that was made anew stands for the last only.
    if made:
        engine.capture("rmi", "--force", *set(made))


@pytest.fixture(scope="session")
def shell_image(make_image: MakeImage, cluster: ClusterFacts) -> str:
    """Return an image with a shell, on every worker."""
    reference = make_image("shell", "shell")
    done = hack_cluster("load", "--name", cluster.name, reference)
    assert done.returncode == 0, done.stderr
    return reference
