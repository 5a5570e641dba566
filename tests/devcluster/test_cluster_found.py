import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import cluster_state
from devcluster.cache import Cache
from devcluster.cluster_found import as_asked, usable
from devcluster.cluster_making import ClusterRequest
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.steps import Steps

OURS, THEIRS = "streamstack-one", "kind"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache.logs)


@pytest.fixture
def facts(cache: Cache) -> ClusterFacts:
    return ClusterFacts(
        name="one",
        nodes=2,
        kubernetes="v1.36.3",
        node_image="streamstack/node:x",
        ingress_port=8443,
        fake_gpus=1,
        kubeconfig=cluster_state.folder(cache, "one") / "kubeconfig",
        kubectl=Path("/usr/bin/kubectl"),
        docker_env={},
        ingress_image="docker.io/x/traefik:1",
        ready=True,
    )


def engine(folder: Path, *, nodes: int = 0, state: str = "running", network: str = OURS) -> Docker:
    """An engine with some nodes of a cluster, which writes down what it was asked."""
    names = [("one-control-plane", "control-plane"), ("one-worker", "worker")][:nodes]
    listed = [f"{name}\t{role}\t{state}\t{network}" for name, role in names]
    program = folder / "docker"
    program.write_text(f"""#!{sys.executable}
import pathlib, sys
asked = sys.argv[1:]
with pathlib.Path({str(folder / "asked")!r}).open("a") as log:
    print(*asked, file=log)
if asked[0] == "ps":
    print({chr(10).join(listed)!r})
if asked[:2] == ["network", "ls"] and {nodes}:
    print("5bd3a1")
""")
    program.chmod(0o755)
    return Docker(binary=str(program), version="20.10.24")


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_where_nothing_is_there_is_nothing_to_use_or_remove(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    docker = engine(tmp_path)
    assert usable(ClusterRequest("one"), docker=docker, cache=cache, steps=steps) is None
    assert not any(line.startswith("rm") for line in asked(tmp_path))


def test_a_whole_cluster_is_used_as_it_is(tmp_path: Path, cache: Cache, steps: Steps, facts: ClusterFacts) -> None:
    cluster_state.save(cache, facts)
    docker = engine(tmp_path, nodes=2)
    assert usable(ClusterRequest("one"), docker=docker, cache=cache, steps=steps) == facts
    assert not any(line.startswith(("rm", "start")) for line in asked(tmp_path))


@pytest.mark.parametrize(("state", "command"), [("exited", "start"), ("paused", "unpause")])
def test_nodes_that_stopped_are_started(
    tmp_path: Path, cache: Cache, steps: Steps, facts: ClusterFacts, state: str, command: str
) -> None:
    cluster_state.save(cache, facts)
    docker = engine(tmp_path, nodes=2, state=state)
    assert usable(ClusterRequest("one"), docker=docker, cache=cache, steps=steps) == facts
    assert f"{command} one-control-plane one-worker" in asked(tmp_path)


def test_a_cluster_that_lost_a_node_is_told_not_removed(
    tmp_path: Path, cache: Cache, steps: Steps, facts: ClusterFacts
) -> None:
    cluster_state.save(cache, facts)
    with pytest.raises(DevError, match="has 2 nodes, and 1 are there: one-control-plane"):
        usable(ClusterRequest("one"), docker=engine(tmp_path, nodes=1), cache=cache, steps=steps)
    assert not any(line.startswith("rm") for line in asked(tmp_path))


def test_a_half_made_cluster_is_removed(tmp_path: Path, cache: Cache, steps: Steps, facts: ClusterFacts) -> None:
    cluster_state.save(cache, replace(facts, ready=False))
    docker = engine(tmp_path, nodes=2)
    assert usable(ClusterRequest("one"), docker=docker, cache=cache, steps=steps) is None
    assert "rm --force --volumes one-control-plane one-worker" in asked(tmp_path)
    assert "network rm streamstack-one" in asked(tmp_path)
    assert cluster_state.load(cache, "one") is None


def test_a_cluster_whose_engine_forgot_it_is_made_anew(
    tmp_path: Path, cache: Cache, steps: Steps, facts: ClusterFacts
) -> None:
    cluster_state.save(cache, facts)
    assert usable(ClusterRequest("one"), docker=engine(tmp_path), cache=cache, steps=steps) is None
    assert cluster_state.load(cache, "one") is None


def test_stopped_nodes_that_nobody_knows_are_removed_and_running_ones_are_told(
    tmp_path: Path, cache: Cache, steps: Steps
) -> None:
    stale = engine(tmp_path, nodes=2, state="exited")
    assert usable(ClusterRequest("one"), docker=stale, cache=cache, steps=steps) is None
    assert "rm --force --volumes one-control-plane one-worker" in asked(tmp_path)
    with pytest.raises(DevError, match="what was known about it is not in") as caught:
        usable(ClusterRequest("one"), docker=engine(tmp_path, nodes=2), cache=cache, steps=steps)
    assert "hack/cluster down --name one" in caught.value.do


def test_a_cluster_that_somebody_made_with_kind_is_never_touched(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    docker = engine(tmp_path, nodes=2, state="exited", network=THEIRS)
    with pytest.raises(DevError, match="not made by this command"):
        usable(ClusterRequest("one"), docker=docker, cache=cache, steps=steps)
    assert not any(line.startswith(("rm", "start")) for line in asked(tmp_path))


def test_a_control_plane_alone_is_not_taken_for_a_cluster(tmp_path: Path, cache: Cache, steps: Steps) -> None:
    place = cluster_state.folder(cache, "one")
    place.mkdir(parents=True)
    (place / "facts.json").write_text('{"kind": "control-plane"}')
    with pytest.raises(DevError, match="one is a control plane alone"):
        usable(ClusterRequest("one"), docker=engine(tmp_path), cache=cache, steps=steps)


@pytest.mark.parametrize(
    ("request_", "option"),
    [
        (ClusterRequest("one", nodes=3), "--nodes 2, asked for 3"),
        (ClusterRequest("one", kubernetes="v1.33.1"), "--k8s-version v1.36.3, asked for v1.33.1"),
        (ClusterRequest("one", ingress_port=9443), "--ingress-port 8443, asked for 9443"),
    ],
)
def test_what_cannot_change_is_refused_by_name(facts: ClusterFacts, request_: ClusterRequest, option: str) -> None:
    with pytest.raises(DevError, match=option):
        as_asked(facts, request_)


def test_what_can_change_does(facts: ClusterFacts) -> None:
    assert as_asked(facts, ClusterRequest("one", nodes=2, fake_gpus=4)).fake_gpus == 4
    assert as_asked(facts, ClusterRequest("one")) == facts
