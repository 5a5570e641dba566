"""Clusters come, stay and go: again and again, side by side, interrupted, and without a trace."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.cluster.conftest import HACK, hack_cluster

from devcluster import cluster as clusters
from devcluster import cluster_nodes, cluster_state, fake_gpus, ingress
from devcluster.cache import Cache
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.footprint import Footprint
from devcluster.kube import Kube
from devcluster.steps import Steps

SECOND = "e2e-second"
SHORT = "e2e-short"


@dataclass(frozen=True, slots=True)
class Second:
    """A cluster of one node beside the session's, and what the machine looked like before it."""

    facts: ClusterFacts
    before: Footprint


@pytest.fixture(scope="module")
def second(cluster: ClusterFacts, engine: Docker, cache: Cache, steps: Steps) -> Iterator[Second]:
    before = Footprint.take(engine, folders=(cache.clusters,))
    request = clusters.ClusterRequest(SECOND, nodes=1)
    yield Second(clusters.up(request, docker=engine, cache=cache, steps=steps), before)
    clusters.down(SECOND, docker=engine, cache=cache, steps=steps)


@dataclass(frozen=True, slots=True)
class Begun:
    """An `up` in the middle: its first node is there, Kubernetes is not."""

    process: "subprocess.Popen[bytes]"
    messages: Path

    def end(self, number: signal.Signals) -> int:
        """Send it a signal; its status."""
        self.process.send_signal(number)
        return self.process.wait(120)


@pytest.fixture
def begun(engine: Docker, cluster: ClusterFacts, tmp_path: Path) -> Iterator[Begun]:
    messages = tmp_path / "messages"
    command = [HACK, "up", "--name", SHORT, "--nodes", "2"]
    with messages.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + 60
    while not cluster_nodes.containers(engine, SHORT):
        assert process.poll() is None, messages.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield Begun(process, messages)
    process.kill()
    process.wait()
    hack_cluster("down", "--name", SHORT)


def ids(docker: Docker, name: str) -> list[str]:
    """Identify a cluster's containers; those that are being made count."""
    label = f"label={cluster_nodes.CLUSTER_LABEL}={name}"
    return sorted(docker.capture("ps", "--all", "--no-trunc", "--quiet", "--filter", label).split())


def test_up_again_keeps_the_nodes_and_says_that_all_is_well(cluster: ClusterFacts, engine: Docker) -> None:
    before = ids(engine, cluster.name)
    done = hack_cluster("up", "--name", cluster.name)
    assert done.returncode == 0, done.stderr
    assert f"cluster {cluster.name} is ready" in done.stderr
    assert ids(engine, cluster.name) == before
    assert hack_cluster("status", "--name", cluster.name).returncode == 0


def test_what_cannot_change_while_a_cluster_runs_is_refused(cluster: ClusterFacts) -> None:
    done = hack_cluster("up", "--name", cluster.name, "--nodes", "2")
    assert done.returncode == 1
    assert f"is up with --nodes {cluster.nodes}, asked for 2" in done.stderr


def test_a_second_cluster_lives_beside_the_first(cluster: ClusterFacts, second: Second) -> None:
    assert second.facts.ingress_port != cluster.ingress_port
    for facts in (cluster, second.facts):
        assert ingress.answers(facts.ingress_port)
        node_names = {node["metadata"]["name"] for node in Kube(facts.kubectl, facts.kubeconfig).objects("nodes")}
        assert len(node_names) == facts.nodes
        assert f"{facts.name}-control-plane" in node_names
    report = hack_cluster("status")
    assert (report.returncode, cluster.name in report.stdout, SECOND in report.stdout) == (0, True, True)


def test_pods_are_scheduled_to_the_only_node_of_a_cluster(second: Second) -> None:
    client = Kube(second.facts.kubectl, second.facts.kubeconfig)
    assert fake_gpus.schedulable(client) == [f"{SECOND}-control-plane"]


def test_a_users_own_kubeconfig_is_never_touched(second: Second, tmp_path: Path) -> None:
    path = hack_cluster("kubeconfig", "--name", SECOND).stdout.strip()
    assert path == str(second.facts.kubeconfig)
    exports = hack_cluster("env", "--name", SECOND).stdout
    assert f"export KUBECONFIG={path}" in exports
    own = Path.home() / ".kube" / "config"
    assert SECOND not in (own.read_text() if own.exists() else "")


def test_nodes_that_stopped_with_the_machine_are_started_again(second: Second, engine: Docker) -> None:
    before = ids(engine, SECOND)
    engine.capture("stop", "--time=5", f"{SECOND}-control-plane")
    assert hack_cluster("status", "--name", SECOND).returncode == 1
    done = hack_cluster("up", "--name", SECOND)
    assert done.returncode == 0, done.stderr
    assert ids(engine, SECOND) == before
    assert hack_cluster("status", "--name", SECOND).returncode == 0


def test_a_running_cluster_whose_state_is_gone_is_told_and_kept(second: Second, cache: Cache, tmp_path: Path) -> None:
    folder = cluster_state.folder(cache, SECOND)
    shutil.move(folder, tmp_path / "moved")
    try:
        done = hack_cluster("up", "--name", SECOND)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(tmp_path / "moved", folder)
    assert done.returncode == 1
    assert f"hack/cluster down --name {SECOND}" in done.stderr
    assert hack_cluster("status", "--name", SECOND).returncode == 0


def test_down_leaves_nothing_of_a_cluster_and_the_other_one_alone(
    cluster: ClusterFacts, second: Second, engine: Docker, cache: Cache
) -> None:
    working = "\n".join(second.before.left_behind(Footprint.take(engine, folders=(cache.clusters,))))
    for trace in (f"container: {SECOND}-control-plane", f"network: streamstack-{SECOND}", "interface: br-", "volume: "):
        assert trace in working, "the comparison has to see what is there meanwhile"

    assert hack_cluster("down", "--name", SECOND).returncode == 0

    assert second.before.left_behind(Footprint.take(engine, folders=(cache.clusters,))) == []
    again = hack_cluster("down", "--name", SECOND)
    assert (again.returncode, f"there is no cluster {SECOND}" in again.stderr) == (0, True)
    assert hack_cluster("status", "--name", cluster.name).returncode == 0


def test_a_port_that_is_taken_is_named_with_who_has_it_before_anything_is_begun(
    cluster: ClusterFacts, engine: Docker
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = hack_cluster("up", "--name", SHORT, "--ingress-port", str(port))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken by " in done.stderr
    assert f"(process {os.getpid()})" in done.stderr
    assert not cluster_nodes.anything(engine, SHORT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_interrupted_leaves_nothing(
    number: signal.Signals, engine: Docker, cluster: ClusterFacts, cache: Cache, request: pytest.FixtureRequest
) -> None:
    before = Footprint.take(engine, folders=(cache.clusters,))
    begun: Begun = request.getfixturevalue("begun")
    status = begun.end(number)
    said = begun.messages.read_text()
    assert (status, f"interrupted by {number.name}" in said) == (130, True), said
    assert before.left_behind(Footprint.take(engine, folders=(cache.clusters,))) == []


def test_what_a_killed_up_left_is_replaced_by_the_next_one(begun: Begun, engine: Docker, cache: Cache) -> None:
    begun.end(signal.SIGKILL)
    half = ids(engine, SHORT)
    done = hack_cluster("up", "--name", SHORT, "--nodes", "1")
    assert done.returncode == 0, done.stderr
    assert f"cluster {SHORT}, which is half made" in done.stderr
    assert not set(half) & set(ids(engine, SHORT))
    facts = cluster_state.load(cache, SHORT)
    assert facts is not None
    assert (facts.nodes, facts.ready) == (1, True)


def test_down_removes_what_a_killed_up_left(
    engine: Docker, cluster: ClusterFacts, cache: Cache, request: pytest.FixtureRequest
) -> None:
    before = Footprint.take(engine, folders=(cache.clusters,))
    request.getfixturevalue("begun").end(signal.SIGKILL)
    assert hack_cluster("down", "--name", SHORT).returncode == 0
    assert before.left_behind(Footprint.take(engine, folders=(cache.clusters,))) == []
