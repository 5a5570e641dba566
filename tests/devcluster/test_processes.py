import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import mounts, processes
from devcluster.listening import address, listening
from devcluster.mounts import Mount
from support.polling import gone, wait_until

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
)
LISTENER = """
import socket, sys, time
first, second = socket.socket(), socket.socket(socket.AF_UNIX)
first.bind(("127.0.0.1", 0)); first.listen()
second.bind(sys.argv[1]); second.listen()
print(first.getsockname()[1], flush=True)
time.sleep(1000)
"""


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def read(pid: int) -> processes.Process:
    found = processes.read(pid)
    assert found is not None
    return found


def test_a_process_is_read_with_its_arguments(sleeper: "subprocess.Popen[bytes]") -> None:
    found = read(sleeper.pid)
    assert found.arguments == ("sleep", "1000")
    assert found in processes.running()


def test_an_option_is_what_follows_it() -> None:
    process = processes.Process(1, 1, ("env", "/usr/sbin/dockerd", "--data-root", "/data", "--debug"))
    assert process.option("--data-root") == "/data"
    assert process.option("--debug") is None
    assert process.option("--exec-root") is None
    assert process.names("dockerd")
    assert not process.names("docker")


def test_a_process_that_ends_when_asked_ended_by_itself(sleeper: "subprocess.Popen[bytes]") -> None:
    assert processes.end(read(sleeper.pid), seconds=30)
    assert sleeper.wait() == -signal.SIGTERM


def test_a_process_that_does_not_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert not processes.end(read(process.pid), seconds=0.2)
        assert process.wait() == -signal.SIGKILL


def test_a_number_that_belongs_to_another_process_now_is_left_alone(sleeper: "subprocess.Popen[bytes]") -> None:
    earlier = replace(read(sleeper.pid), started=1)
    assert processes.end(earlier, seconds=30)
    assert sleeper.poll() is None


def test_a_process_that_is_gone_has_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    process = read(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert processes.end(process, seconds=30)
    assert processes.read(process.pid) is None
    assert gone(process.pid)
    assert processes.executable(process.pid) is None
    assert processes.cgroup_path(process.pid) == ()
    assert listening([process.pid]) == []


def test_kernel_threads_and_zombies_are_no_processes_of_anybody(sleeper: "subprocess.Popen[bytes]") -> None:
    sleeper.kill()
    wait_until(lambda: gone(sleeper.pid))  # nobody has waited for it: a zombie
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert processes.read(sleeper.pid) is None


def test_listening_sockets_are_found_by_their_process(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with subprocess.Popen([sys.executable, "-c", LISTENER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert listening([process.pid]) == [f"tcp 127.0.0.1:{port}", f"unix {path}"]
        assert f"unix {path}" not in listening([os.getpid()])
        process.kill()


@pytest.mark.skipif(sys.byteorder != "little", reason="the encoded addresses are those of a little-endian machine")
@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("0100007F:1F90", "127.0.0.1:8080"),
        ("00000000:0016", "0.0.0.0:22"),
        ("00000000000000000000000001000000:1F90", "[::1]:8080"),
        ("B80D0120000000000000000001000000:0050", "[2001:db8::1]:80"),
    ],
)
def test_addresses_of_the_kernel_are_decoded(encoded: str, decoded: str) -> None:
    assert address(encoded) == decoded


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        ("24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", Mount(Path("/"), "ext4")),
        ("25 24 0:5 / /a\\040b\\134c rw - tmpfs tmpfs rw", Mount(Path("/a b\\c"), "tmpfs")),
        ("26 24 0:4 net:[1] /e/netns/1 rw shared:1 master:2 - nsfs nsfs rw", Mount(Path("/e/netns/1"), "nsfs")),
        ("27 24 0:6 / /ä rw - overlay o rw", Mount(Path("/ä"), "overlay")),
    ],
)
def test_mounts_are_read_whatever_their_name_has(line: str, mount: Mount) -> None:
    assert mounts.parse(line) == mount


def test_what_is_mounted_here_is_found() -> None:
    assert Mount(Path("/proc"), "proc") in mounts.read()
    assert mounts.unmount(Path("/proc/self/nothing")) is not None


OPENS_AND_CLOSES = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
print("listens", flush=True)
while True:
    for file in [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]:
        os.close(file)
"""


def test_files_that_a_process_closes_meanwhile_do_not_hide_its_sockets(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with subprocess.Popen([sys.executable, "-c", OPENS_AND_CLOSES, str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(20):
                assert listening([process.pid]) == [f"unix {path}"]
        finally:
            process.kill()


def test_a_number_drawn_at_start_does_not_make_another_place(tmp_path: Path) -> None:
    """A kubelet's pod-resources, whose path is another after every start."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "3134481777"))
        listener.listen()
        assert f"unix {tmp_path}/*" in listening([os.getpid()])
