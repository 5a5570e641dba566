import json

from devcluster.pod_network import Node, cni_config, node_of, script

ONE = Node("x-control-plane", "172.18.0.2", "10.244.0.0/24")
TWO = Node("x-worker", "172.18.0.3", "10.244.1.0/24")
THREE = Node("x-worker2", "172.18.0.4", "10.244.2.0/24")


def test_a_node_routes_to_every_other_nodes_pods_and_not_to_its_own() -> None:
    routes = [line for line in script(TWO, others=[ONE, THREE]).splitlines() if line.startswith("ip route")]
    assert routes == [
        "ip route replace 10.244.0.0/24 via 172.18.0.2",
        "ip route replace 10.244.2.0/24 via 172.18.0.4",
    ]


def test_only_what_leaves_the_pods_is_masqueraded() -> None:
    assert "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade" in script(ONE, others=[])


def test_pods_get_addresses_of_their_nodes_range_and_the_nodes_mtu() -> None:
    config = json.loads(cni_config(TWO.pods).replace("$mtu", "1400"))
    first = config["plugins"][0]
    assert (first["type"], first["mtu"]) == ("ptp", 1400)
    assert first["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_the_shell_finds_nothing_to_replace_in_the_configuration_but_the_mtu() -> None:
    assert cni_config(TWO.pods).count("$") == 1
    assert "`" not in cni_config(TWO.pods)


def test_a_nodes_address_is_its_internal_one() -> None:
    item = {
        "metadata": {"name": "x-worker"},
        "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "x-worker"},
                {"type": "InternalIP", "address": "172.18.0.3"},
            ]
        },
    }
    assert node_of(item) == TWO
