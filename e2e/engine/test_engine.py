"""The Docker engine of our own: it comes, works, and leaves a machine as it was. Real dockerd, real containers."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from support.apart import ENGINE, Apart
from support.polling import wait_until

BUSYBOX = "/bin/busybox"


def serve(apart: Apart, image: str, *options: str) -> str:
    """Start a container that answers HTTP on loopback port 8080 of its namespace; returns its id."""
    script = f"{BUSYBOX} mkdir -p /www && echo hello > /www/index.html && exec {BUSYBOX} httpd -f -p 80 -h /www"
    started = apart.docker(
        "run",
        "--detach",
        "--publish=127.0.0.1:8080:80",
        "--stop-signal=KILL",
        *options,
        image,
        BUSYBOX,
        "sh",
        "-c",
        script,
    )
    wait_until(lambda: apart.run(BUSYBOX, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").stdout == "hello\n")
    return started.strip()


def test_an_engine_that_served_containers_leaves_the_machine_as_it_was(apart: Apart, tmp_path: Path) -> None:
    apart.succeed("sysctl", "-w", "net.ipv4.ip_forward=0")
    before = apart.footprint()
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    apart.docker("network", "create", "backend")
    serve(apart, image, "--network=backend", "--volume=journal:/journal")
    apart.docker("run", "--detach", "--privileged", "--stop-signal=KILL", image, BUSYBOX, "sleep", "1000")
    working = apart.footprint()

    apart.succeed(ENGINE, "down")

    assert before.left_behind(apart.footprint()) == []
    # The comparison is worth something only if it saw what was there meanwhile.
    seen = "\n".join(before.left_behind(working))
    for trace in (
        "interface: docker0", "interface: br-", "interface: veth", "mount: ", "/overlay2/", "(nsfs)", "chain DOCKER -",
        "chain FORWARD DROP", "-j MASQUERADE", "docker-proxy", "containerd-shim", "socket: tcp 127.0.0.1:8080",
        "cgroup: streamstack-", "setting: net/ipv4/ip_forward = 1",
    ):  # fmt: skip
        assert trace in seen, f"{trace} is not in\n{seen}"


def test_a_container_may_be_privileged_whatever_the_machine_lacks(apart: Apart, tmp_path: Path) -> None:
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    apart.docker(
        "run", "--detach", "--name=strong", "--privileged", "--stop-signal=KILL", image, BUSYBOX, "sleep", "1000"
    )
    status = apart.docker("exec", "--privileged", "strong", BUSYBOX, "cat", "/proc/self/status")
    capabilities = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    assert capabilities >> 21 & 1, "CAP_SYS_ADMIN is what privileged containers are for"


def test_a_network_of_containers_is_reached_by_name(apart: Apart, tmp_path: Path) -> None:
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    apart.docker("network", "create", "backend")
    serve(apart, image, "--network=backend", "--name=server")
    fetched = apart.docker(
        "run", "--rm", "--network=backend", image, BUSYBOX, "wget", "-q", "-O", "-", "http://server/"
    )
    assert fetched == "hello\n"


def test_up_twice_starts_one_engine(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    first = apart.dockerds()
    apart.succeed(ENGINE, "up")
    assert len(first) == 1
    assert apart.dockerds() == first


def test_two_who_want_an_engine_at_the_same_time_get_the_same_one(apart: Apart) -> None:
    both = [apart.begin(ENGINE, "up") for _ in range(2)]
    for one in both:
        _, errors = one.communicate(timeout=60)
        assert one.returncode == 0, errors
    assert len(apart.dockerds()) == 1


def test_down_twice_is_harmless_and_says_so(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    apart.succeed(ENGINE, "down")
    again = apart.run(ENGINE, "down")
    assert again.returncode == 0
    assert "no Docker engine of ours runs" in again.stderr


def test_images_outlive_the_engine_until_they_are_purged(apart: Apart, tmp_path: Path) -> None:
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    apart.succeed(ENGINE, "down")
    apart.succeed(ENGINE, "up")
    assert apart.docker("images", "--quiet", image).strip()
    apart.succeed(ENGINE, "down", "--purge")
    assert not apart.engine.exists()


def test_what_a_killed_engine_left_is_taken_away_by_down(apart: Apart, tmp_path: Path) -> None:
    before = apart.footprint()
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    apart.docker("network", "create", "backend")
    serve(apart, image, "--network=backend")
    apart.kill_dockerd()
    left = before.left_behind(apart.footprint())
    assert any("httpd" in line for line in left), "a container outlives its engine"

    status = apart.run(ENGINE, "status")
    assert status.returncode == 1
    assert "died" in status.stdout
    apart.succeed(ENGINE, "down")
    assert before.left_behind(apart.footprint()) == []


def test_a_killed_engine_is_started_anew_over_what_it_left(apart: Apart, tmp_path: Path) -> None:
    before = apart.footprint()
    apart.succeed(ENGINE, "up")
    image = apart.load_image(tmp_path)
    container = serve(apart, image)
    apart.kill_dockerd()
    # A number in the pid files that belongs to somebody else now, as after a reboot.
    for file in (apart.engine / "dockerd.pid", apart.engine / "exec/containerd/containerd.pid"):
        file.write_text("1")

    apart.succeed(ENGINE, "up")
    apart.docker("start", container)
    wait_until(lambda: apart.run(BUSYBOX, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").stdout == "hello\n")
    apart.succeed(ENGINE, "down")
    assert before.left_behind(apart.footprint()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(apart: Apart, number: signal.Signals) -> None:
    before = apart.footprint()
    starting = apart.begin(ENGINE, "up")
    wait_until(lambda: apart.dockerds() or starting.poll() is not None)
    (command,) = _children(starting.pid)
    for _ in range(2):  # a second Ctrl-C must not keep the first from being undone
        signal_process(command, number)
    _, errors = starting.communicate(timeout=60)

    assert starting.returncode == 130, errors
    assert f"interrupted by {number.name}" in errors
    assert apart.dockerds() == []
    assert before.left_behind(apart.footprint()) == []
    apart.succeed(ENGINE, "up")


def test_a_ctrl_c_does_not_reach_an_engine_that_runs(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    (pid,) = apart.dockerds()
    # Field 6 of proc(5)'s stat is the session; a terminal signals the sessions it controls.
    session = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    inside = int(next(line for line in _status(pid) if line.startswith("NSpid:")).split()[-1])
    assert session in {pid, inside}


def test_rules_of_others_stay_as_they_are(apart: Apart) -> None:
    apart.succeed("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP")
    apart.succeed("iptables", "-P", "FORWARD", "DROP")
    apart.succeed(ENGINE, "up")
    apart.succeed("iptables", "-A", "FORWARD", "-s", "10.9.0.0/16", "-j", "ACCEPT")
    apart.succeed("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.9.0.0/16", "-j", "MASQUERADE")
    apart.succeed(ENGINE, "down")

    rules = [line for line in apart.succeed("iptables-save").splitlines() if line.startswith("-A")]
    assert rules == [
        "-A INPUT -p tcp -m tcp --dport 9 -j DROP",
        "-A FORWARD -s 10.9.0.0/16 -j ACCEPT",
        "-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE",
    ]
    assert ":FORWARD DROP" in apart.succeed("iptables-save")


def test_the_environment_it_prints_reaches_it(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    script = f'eval "$({ENGINE} env)" && docker info --format "{{{{.DockerRootDir}}}}"'
    assert apart.succeed("sh", "-c", script).strip() == str(apart.engine / "root")


def test_an_engine_that_answers_already_is_used_as_it_is(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    other = apart.cache / "other"
    up = apart.run(ENGINE, "up", DOCKER_HOST=apart.host, STREAMSTACK_CACHE=str(other))
    assert up.returncode == 0, up.stderr
    assert apart.host in up.stderr or "its usual place" in up.stderr
    assert len(apart.dockerds()) == 1
    down = apart.run(ENGINE, "down", DOCKER_HOST=apart.host, STREAMSTACK_CACHE=str(other))
    assert down.returncode == 0
    assert len(apart.dockerds()) == 1, "an engine that was there before is not ours to stop"


def test_a_socket_without_permission_is_said_to_be_one(apart: Apart) -> None:
    apart.succeed(ENGINE, "up")
    (apart.engine / "docker.sock").chmod(0o600)
    done = nobody(apart, "up", DOCKER_HOST=apart.host)
    assert done.returncode == 1
    assert "permission denied" in done.stderr
    assert "docker group" in done.stderr


def test_without_root_it_says_what_to_do_instead(apart: Apart) -> None:
    done = nobody(apart, "up")
    assert done.returncode == 1
    assert "no Docker engine answers, and starting one needs root" in done.stderr
    assert "what to do: start Docker" in done.stderr


def test_a_full_disk_is_refused_before_anything_is_started(apart: Apart) -> None:
    apart.succeed("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", apart.cache)
    before = apart.footprint()
    done = apart.run(ENGINE, "up")
    assert done.returncode == 1
    assert "a Docker engine needs" in done.stderr
    assert "are free" in done.stderr
    assert before.left_behind(apart.footprint()) == []
    apart.succeed("umount", apart.cache)


def test_a_docker_host_that_does_not_answer_is_not_passed_over(apart: Apart) -> None:
    done = apart.run(ENGINE, "up", DOCKER_HOST="unix:///run/nobody.sock")
    assert done.returncode == 1
    assert "DOCKER_HOST is unix:///run/nobody.sock, and no Docker engine answers there" in done.stderr
    assert apart.dockerds() == []


def test_a_dockerd_that_ends_at_once_is_explained_by_its_log(apart: Apart) -> None:
    apart.engine.mkdir()
    (apart.engine / "root").write_text("a file where dockerd wants a folder")
    before = apart.footprint()
    done = apart.run(ENGINE, "up")
    assert done.returncode == 1
    assert "dockerd ended at once with status 1" in done.stderr
    assert "canonical path points to a file" in done.stderr
    assert before.left_behind(apart.footprint()) == []


def test_an_engine_started_elsewhere_is_not_undone_here(apart: Apart) -> None:
    """Its rules and interfaces are in another network namespace: what is here belongs to others."""
    apart.succeed(ENGINE, "up")
    state = json.loads((apart.engine / "before.json").read_text())
    (apart.engine / "before.json").write_text(json.dumps({**state, "network_namespace": "net:[1]"}))
    done = apart.run(ENGINE, "down")
    assert done.returncode == 1
    assert "another network namespace" in done.stderr
    assert len(apart.dockerds()) == 1
    (apart.engine / "before.json").write_text(json.dumps(state))


def nobody(apart: Apart, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run hack/engine as a user without rights, with a cache folder of its own."""
    cache = apart.cache / "nobody"
    cache.mkdir()
    cache.chmod(0o777)
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3")
    return apart.run(*user, ENGINE, *arguments, **{"STREAMSTACK_CACHE": str(cache), "HOME": str(cache), **environment})


def signal_process(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()
