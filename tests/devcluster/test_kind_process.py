import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import kind_process
from devcluster.cluster_state import ClusterFacts
from devcluster.errors import DevError
from support.polling import gone


@pytest.fixture
def facts(tmp_path: Path) -> ClusterFacts:
    return ClusterFacts(
        name=f"one-{os.getpid()}",
        nodes=1,
        kubernetes="v1.36.3",
        node_image="streamstack/node:x",
        ingress_port=8443,
        fake_gpus=0,
        kubeconfig=tmp_path / "kubeconfig",
        kubectl=Path("/usr/bin/kubectl"),
        docker_env={},
        ingress_image="docker.io/x/traefik:1",
    )


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def node_on_its_way(tmp_path: Path, facts: ClusterFacts) -> Iterator["subprocess.Popen[bytes]"]:
    """A client whose engine is making a node, until its standard input is closed."""
    docker = program(tmp_path, "docker", "import sys; print('up', flush=True); sys.stdin.read()")
    command = [docker, "run", "--label", f"io.x-k8s.kind.cluster={facts.name}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process


def test_kind_is_told_everything_and_its_words_are_kept(tmp_path: Path, facts: ClusterFacts) -> None:
    kind = program(tmp_path, "kind", "import os, sys; print(*sys.argv[1:], os.environ['MORE'])")
    log = tmp_path / "log"
    kind_process.create(facts, kind=kind, config=tmp_path / "config", env={"MORE": "of it"}, log=log)
    said = log.read_text()
    assert said.startswith(f"create cluster --name {facts.name} ")
    assert f"--kubeconfig {facts.kubeconfig}" in said, "never the user's own"
    assert said.endswith("of it\n")


def test_a_kind_that_fails_is_quoted(tmp_path: Path, facts: ClusterFacts) -> None:
    kind = program(tmp_path, "kind", "import sys; sys.exit('ERROR: failed to init node')")
    with pytest.raises(DevError, match=r"(?s)status 1.*failed to init node"):
        kind_process.create(facts, kind=kind, config=tmp_path / "config", env={}, log=tmp_path / "log")


def test_a_kind_whose_maker_was_killed_is_ended_and_another_one_is_not(tmp_path: Path, facts: ClusterFacts) -> None:
    kind = program(tmp_path, "kind", "import time; print('up', flush=True); time.sleep(1000)")
    orphan = [kind, "create", "cluster", "--name", facts.name, "--kubeconfig", str(facts.kubeconfig)]
    somebodys = [kind, "create", "cluster", "--name", facts.name]
    with (
        subprocess.Popen(orphan, stdout=subprocess.PIPE) as ours,
        subprocess.Popen(somebodys, stdout=subprocess.PIPE) as theirs,
    ):
        for process in (ours, theirs):
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        kind_process.settle(facts)
        assert gone(ours.pid)
        assert theirs.poll() is None
        theirs.kill()


def test_a_node_that_the_engine_is_making_is_waited_for(
    facts: ClusterFacts, node_on_its_way: "subprocess.Popen[bytes]"
) -> None:
    settling = threading.Thread(target=kind_process.settle, args=(facts,))
    settling.start()
    settling.join(0.5)
    assert settling.is_alive()
    assert node_on_its_way.poll() is None, "it is waited for, not ended"
    assert node_on_its_way.stdin is not None
    node_on_its_way.stdin.close()
    node_on_its_way.wait()
    settling.join(30)
    assert not settling.is_alive()


@pytest.mark.usefixtures("node_on_its_way")
def test_a_node_that_never_comes_is_told(facts: ClusterFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind_process, "SETTLE_SECONDS", 0)
    with pytest.raises(DevError, match="is still being made"):
        kind_process.settle(facts)
