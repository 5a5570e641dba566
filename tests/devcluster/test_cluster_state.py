from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import cluster_state
from devcluster.cache import Cache
from devcluster.cluster_state import ClusterFacts
from devcluster.errors import DevError


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


@pytest.fixture
def facts(cache: Cache) -> ClusterFacts:
    return ClusterFacts(
        name="one",
        nodes=3,
        kubernetes="v1.36.3",
        node_image="streamstack/node:x",
        ingress_port=8443,
        fake_gpus=0,
        kubeconfig=cluster_state.folder(cache, "one") / "kubeconfig",
        kubectl=Path("/usr/bin/kubectl"),
        docker_env={"DOCKER_HOST": "unix:///run/x.sock"},
        ingress_image="docker.io/x/traefik:1",
    )


def test_what_is_saved_is_what_is_loaded(cache: Cache, facts: ClusterFacts) -> None:
    cluster_state.save(cache, facts)
    assert cluster_state.load(cache, "one") == facts
    cluster_state.save(cache, replace(facts, ready=True))
    assert cluster_state.load(cache, "one") == replace(facts, ready=True)
    assert cluster_state.sort_of(cache, "one") == "kind"
    assert cluster_state.names(cache) == ["one"]


def test_a_cluster_nobody_made_is_unknown(cache: Cache) -> None:
    assert cluster_state.load(cache, "one") is None
    assert cluster_state.sort_of(cache, "one") is None
    with pytest.raises(DevError, match="no cluster one is up"):
        cluster_state.kubeconfig(cache, "one")


def test_forgetting_leaves_the_logs(cache: Cache, facts: ClusterFacts) -> None:
    cluster_state.save(cache, facts)
    log = cluster_state.folder(cache, "one") / "logs" / "creating.log"
    log.parent.mkdir()
    log.write_text("why")
    cluster_state.forget(cache, "one")
    assert cluster_state.names(cache) == []
    assert log.read_text() == "why"


def test_a_control_plane_alone_is_no_kind_cluster(cache: Cache) -> None:
    place = cluster_state.folder(cache, "two")
    place.mkdir(parents=True)
    (place / "facts.json").write_text('{"kind": "control-plane", "api_port": 6443}')
    assert cluster_state.sort_of(cache, "two") == "control-plane"
    assert cluster_state.load(cache, "two") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"kind": "kind"}', '{"kind": "kind", "kubeconfig": "/x", "kubectl": "/y", "colour": 1}']
)
def test_facts_of_another_version_are_refused_with_what_to_do(cache: Cache, content: str) -> None:
    place = cluster_state.folder(cache, "one")
    place.mkdir(parents=True)
    (place / "facts.json").write_text(content)
    with pytest.raises(DevError, match=r"facts.json cannot be read") as caught:
        cluster_state.load(cache, "one")
    assert "hack/cluster down --name one" in caught.value.do
