import json

import pytest

from devcluster.errors import DevError
from devcluster.kind_config import kind_config, require_name, require_nodes, require_version


def config(nodes: int = 3, *, port: int = 8443, own: bool = True) -> dict:  # type: ignore[type-arg]
    return json.loads(kind_config(nodes=nodes, ingress_port=port, own_pod_network=own))  # type: ignore[no-any-return]


@pytest.mark.parametrize("nodes", [1, 2, 10])
def test_one_node_is_the_control_plane_and_the_others_are_workers(nodes: int) -> None:
    roles = [node["role"] for node in config(nodes)["nodes"]]
    assert roles == ["control-plane"] + ["worker"] * (nodes - 1)


def test_the_ingress_is_published_on_loopback_only() -> None:
    first, *others = config(port=9000)["nodes"]
    assert first["extraPortMappings"] == [
        {"containerPort": 30443, "hostPort": 9000, "listenAddress": "127.0.0.1", "protocol": "TCP"}
    ]
    assert all("extraPortMappings" not in node for node in others)
    assert config()["networking"]["apiServerAddress"] == "127.0.0.1"


def test_kubelets_may_run_on_cgroup_v1_and_services_are_nftables() -> None:
    whole = config()
    patches = [json.loads(patch) for patch in whole["kubeadmConfigPatches"]]
    assert {"kind": "KubeletConfiguration", "failCgroupV1": False} in patches
    assert whole["networking"]["kubeProxyMode"] == "nftables"


@pytest.mark.parametrize("own", [True, False])
def test_kind_installs_a_pod_network_where_the_node_image_brings_one(own: bool) -> None:
    assert config(own=own)["networking"]["disableDefaultCNI"] is own


@pytest.mark.parametrize("name", ["a", "streamstack", "x-1", "0", "a" * 30])
def test_dns_labels_up_to_thirty_letters_are_names(name: str) -> None:
    assert require_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a.b", "a/../b", "ä", "a" * 31, "a\n"])
def test_what_cannot_be_a_host_name_is_no_cluster_name(name: str) -> None:
    with pytest.raises(DevError, match=r"not valid.*small letters, digits and dashes"):
        require_name(name)


@pytest.mark.parametrize("nodes", [0, -1, 11])
def test_a_cluster_has_one_to_ten_nodes(nodes: int) -> None:
    with pytest.raises(DevError, match="expected 1 to 10"):
        require_nodes(nodes)


@pytest.mark.parametrize("version", ["1.36.3", "v1.36", "latest", "v1.36.3-rc.1", ""])
def test_a_version_is_written_like_a_release(version: str) -> None:
    with pytest.raises(DevError, match="expected a release"):
        require_version(version)
