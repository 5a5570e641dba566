import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster.docker import Docker
from devcluster.footprint import Footprint, nft_facts

BEFORE = Footprint(
    containers=("web (nginx, 1)",),
    mounts=("/ (ext4)", "/proc (proc)"),
    interfaces=("eth0", "lo"),
    rules=("iptables: filter: -A INPUT -j DROP",),
    processes=("10@5 dockerd",),
    cgroups=("docker",),
    settings=("net/ipv4/ip_forward = 0",),
)

SERVER = """
import socket, sys, time
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
print(listener.getsockname()[1], flush=True)
time.sleep(1000)
"""

RULESET = """\
# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "docker0" counter packets 17 bytes 1020 masquerade
	}
}
table inet mine {
	set seen {
		type ipv4_addr
		elements = { 192.0.2.1 timeout 1m expires 12s345ms }
	}
}
"""


def test_what_is_the_same_leaves_nothing() -> None:
    assert BEFORE.left_behind(BEFORE) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"containers": (*BEFORE.containers, "db (pg, 2)")}, ["container: db (pg, 2)"]),
        ({"networks": ("kind (bridge, 3)",)}, ["network: kind (bridge, 3)"]),
        ({"volumes": ("journal",)}, ["volume: journal"]),
        ({"interfaces": ("docker0", "eth0", "lo")}, ["interface: docker0"]),
        ({"processes": ("10@5 dockerd", "10@9 dockerd")}, ["process: 10@9 dockerd"]),
        ({"sockets": ("tcp 127.0.0.1:8080",)}, ["socket: tcp 127.0.0.1:8080"]),
        ({"settings": ("net/ipv4/ip_forward = 1",)}, ["setting: net/ipv4/ip_forward = 1"]),
        ({"cgroups": ("docker", "docker/a", "docker/a/b", "kube")}, ["cgroup: docker/a", "cgroup: kube"]),
        ({"mounts": ("/ (ext4)", "/ (ext4)", "/proc (proc)")}, ["mount: / (ext4)"]),
        ({"files": ("/c/a", "/c/a/b", "/c/ab")}, ["file: /c/a", "file: /c/ab"]),
        ({"rules": ()}, ["rule taken away: iptables: filter: -A INPUT -j DROP"]),
        ({"containers": (), "mounts": (), "processes": ()}, []),
    ],
)
def test_what_came_is_told_in_lines(change: dict[str, tuple[str, ...]], lines: list[str]) -> None:
    assert BEFORE.left_behind(replace(BEFORE, **change)) == lines


def test_facts_survive_being_written_down() -> None:
    assert Footprint.from_json(BEFORE.to_json()) == BEFORE


def test_rules_of_nftables_are_compared_without_counters_and_clocks() -> None:
    assert nft_facts(RULESET) == [
        "nft: table ip nat",
        "nft: table ip nat > chain POSTROUTING",
        "nft: table ip nat > chain POSTROUTING > type nat hook postrouting priority srcnat; policy accept;",
        'nft: table ip nat > chain POSTROUTING > oifname != "docker0" counter masquerade',
        "nft: table inet mine",
        "nft: table inet mine > set seen",
        "nft: table inet mine > set seen > type ipv4_addr",
        "nft: table inet mine > set seen > elements = { 192.0.2.1 timeout 1m }",
    ]


def test_a_program_a_socket_and_a_file_in_a_named_folder_are_seen_and_seen_to_go(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    before = Footprint.take(None, folders=[tmp_path])
    script.write_text(SERVER)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        while_it_runs = before.left_behind(Footprint.take(None, folders=[tmp_path]))
        process.kill()
    ours = [line for line in while_it_runs if str(tmp_path) in line or str(port) in line]
    assert [line.partition(" ")[0] for line in ours] == ["process:", "socket:", "file:"]
    assert f"tcp 127.0.0.1:{port}" in ours[1]

    script.unlink()
    after = before.left_behind(Footprint.take(None, folders=[tmp_path]))
    assert not [line for line in after if str(tmp_path) in line or str(port) in line]


def test_a_program_named_as_an_engines_or_a_clusters_is_seen_wherever_it_is(tmp_path: Path) -> None:
    program = tmp_path / "kube-apiserver"
    program.symlink_to("/bin/sleep")
    before = Footprint.take(None)
    with subprocess.Popen([program, "1000"]) as process:
        line = f"process: {process.pid}@"
        found = [seen for seen in before.left_behind(Footprint.take(None)) if seen.startswith(line)]
        process.kill()
    assert len(found) == 1
    assert found[0].endswith(f"{program} 1000")


def test_what_others_run_is_not_counted() -> None:
    before = Footprint.take(None)
    with subprocess.Popen(["sleep", "1000"]) as process:
        after = Footprint.take(None)
        process.kill()
    assert not [line for line in before.left_behind(after) if f" {process.pid}@" in line]
    assert not [line for line in after.processes if line.startswith(f"{os.getpid()}@")]


def test_objects_of_an_engine_are_asked_of_its_client(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in ps) echo "node (kindest, 1)" ;; network) printf "kind (bridge, 2)\\nhost (host, 3)\\n" ;; esac\n'
    )
    program.chmod(0o755)
    found = Footprint.take(Docker(binary=str(program), version="20.10"))
    assert found.containers == ("node (kindest, 1)",)
    assert found.networks == ("host (host, 3)", "kind (bridge, 2)")
    assert found.volumes == ()
