"""A control plane as processes: up, down, and every way of ending in between. Each test has one of its own."""

import io
import os
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster import control_plane as control_planes
from devcluster import processes
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts, ControlPlaneStatus, readiness
from devcluster.errors import DevError
from devcluster.listening import listening
from devcluster.steps import Steps
from support.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.control_plane

HACK = Path(control_planes.__file__).parents[2]
STARTER = """
import io, sys
from pathlib import Path
from devcluster import control_plane
from devcluster.cache import Cache
from devcluster.commands import raise_on_signals
from devcluster.steps import Steps
raise_on_signals()
control_plane.up(sys.argv[1], cache=Cache(), steps=Steps(Path(sys.argv[2]), out=io.StringIO()), die_with={die_with})
{then}
"""


@dataclass(frozen=True, slots=True)
class Own:
    """A control plane by name, in the cache whose programs are built."""

    name: str
    cache: Cache
    steps: Steps

    @property
    def folder(self) -> Path:
        return self.cache.clusters.resolve() / self.name

    def up(self) -> ControlPlaneFacts:
        return control_planes.up(self.name, cache=self.cache, steps=self.steps)

    def down(self) -> None:
        control_planes.down(self.name, cache=self.cache, steps=self.steps)

    def status(self) -> ControlPlaneStatus:
        return control_planes.status(self.name, cache=self.cache)

    def running(self) -> list[processes.Process]:
        """Everything that runs for it, whoever started it: its folder is where it works, or what it was told."""
        return [it for it in processes.running() if str(self.folder) in it.arguments or _cwd(it) == self.folder]

    def starter(self, *, die_with: str = "None", then: str = "") -> "subprocess.Popen[bytes]":
        """Start another process that brings it up."""
        return subprocess.Popen(
            [sys.executable, "-c", STARTER.format(die_with=die_with, then=then), self.name, self.steps.logs],
            env={**os.environ, "PYTHONPATH": str(HACK)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    it = Own(f"test-{secrets.token_hex(4)}", Cache(), Steps(tmp_path / "logs", out=io.StringIO()))
    try:
        yield it
    finally:
        it.down()


def _cwd(process: processes.Process) -> Path | None:
    try:
        return Path(f"/proc/{process.pid}/cwd").readlink()
    except OSError:
        return None


def until(holds: Callable[[], object]) -> None:
    """Ask the kernel until it says so; it tells nobody when a process that is not a child's child ends."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def test_up_twice_is_one_control_plane_and_down_leaves_nothing(own, control_plane):
    first = own.up()
    assert own.up() == first
    assert own.status().healthy
    running = own.running()
    assert {it.pid for it in running} > set(first.pids.values())
    assert set(listening(it.pid for it in running)) == {
        f"tcp 127.0.0.1:{first.api_port}",
        "unix etcd:0",
        "unix etcd-peer:0",
    }
    assert control_plane.api_port != first.api_port, "two of them live side by side"

    own.down()
    assert own.running() == []
    assert [processes.read(it.pid) for it in running] == [None] * len(running)
    assert not own.folder.exists()
    own.down()
    assert own.status() == ControlPlaneStatus(None, healthy=False, says=f"there is no control plane {own.name}")


def test_what_is_secret_only_its_owner_can_read(control_plane):
    folder = control_plane.kubeconfig.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = [control_plane.kubeconfig, *folder.glob("pki/*.key"), *folder.glob("pki/*.kubeconfig")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert len(secret) == 11


def test_one_program_killed_ends_all_and_up_brings_it_back(own):
    first = own.up()
    os.kill(first.pids["kube-apiserver"], signal.SIGKILL)
    until(lambda: own.running() == [])
    assert own.status().says == f"control plane {own.name} is dead: kube-apiserver was killed by SIGKILL"
    again = own.up()
    assert own.status().healthy
    assert not set(again.pids.values()) & set(first.pids.values())


def test_one_that_hangs_is_replaced(own, monkeypatch):
    monkeypatch.setattr(control_planes, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(readiness, "ANSWER_SECONDS", 1.0)
    first = own.up()
    assert own.up() == first
    os.kill(first.pids["kube-apiserver"], signal.SIGSTOP)
    assert own.status().says == f"control plane {own.name} runs and does not answer"
    own.up()
    assert own.status().healthy
    assert len(own.running()) == 4


def test_a_killed_keeper_takes_its_programs_along(own):
    facts = own.up()
    (keeper,) = [it for it in own.running() if it.pid not in facts.pids.values()]
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: own.running() == [])
    assert own.status().says == f"control plane {own.name} is dead: it was ended from outside"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda it: it.name)
def test_a_start_that_is_cut_short_leaves_nothing(own, number):
    with own.starter() as starter:
        until(lambda: any(it.program == "kube-apiserver" for it in own.running()))
        starter.send_signal(number)
        starter.wait()
    assert starter.returncode != 0
    until(lambda: own.running() == [])
    assert own.folder.exists() == (number == signal.SIGKILL), "only who is not killed can tidy up"
    own.down()
    assert not own.folder.exists()


def test_it_outlives_who_started_it(own):
    with own.starter() as starter:
        assert starter.wait() == 0
    assert own.status().healthy


def test_it_dies_with_the_process_it_was_told_to_die_with(own):
    with own.starter(die_with="__import__('os').getpid()", then="print('up', flush=True); sys.stdin.read()") as starter:
        assert starter.stdout.readline() == b"up\n"
        assert own.status().healthy
        starter.kill()
    until(lambda: own.running() == [])
    until(lambda: not own.folder.exists())


def test_a_process_that_is_gone_is_nothing_to_live_with(own):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(DevError, match="the process that the control plane was to die with is gone"):
        control_planes.up(own.name, cache=own.cache, steps=own.steps, die_with=gone.pid)
    assert not own.folder.exists()
