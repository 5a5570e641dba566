"""One control plane for a whole run: shared by its workers, gone with it, whatever happens to either."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import control_plane as control_planes
from devcluster import processes
from devcluster.cache import Cache
from support.waiting import eventually

pytestmark = pytest.mark.control_plane

ROOT = Path(control_planes.__file__).parents[3]
CONFTEST = 'pytest_plugins = ["support.control_plane"]\n'
INI = f"""\
[pytest]
pythonpath = {ROOT / "tests"} {ROOT / "hack"}
asyncio_mode = auto
addopts = --strict-markers -p no:cacheprovider
"""
TESTS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_it_is_shared(control_plane, number, worker_id):
    here = pathlib.Path(__file__).parent
    (here / f"seen-{number}").write_text(f"{worker_id} {control_plane.api_port} {control_plane.name}")
    if number == 3:
        WHEN_LAST

async def test_a_namespace_is_ones_own(namespace):
    assert (await namespace.list("v1", "ServiceAccount"))[0]["metadata"]["name"] == "default"
"""


def begin(folder: Path, *arguments: str, when_last: str) -> "subprocess.Popen[str]":
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_it.py").write_text(TESTS.replace("WHEN_LAST", when_last))
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def seen(folder: Path) -> list[tuple[str, str, str]]:
    return [tuple(path.read_text().split()) for path in sorted(folder.glob("seen-*"))]


def left(run: int) -> list[str]:
    """What a run left: its folder, its processes."""
    folder = Cache().clusters.resolve() / f"pytest-{run}"
    running = [str(it.arguments) for it in processes.running() if str(folder) in it.arguments]
    return running + [str(folder)] * folder.exists()


def test_workers_share_one_and_it_is_gone_when_pytest_returns_although_a_worker_crashed(tmp_path):
    with begin(tmp_path, "-n", "2", when_last="os._exit(1)") as run:
        output, _ = run.communicate()
    assert "crashed while running" in output
    assert "1 failed, 4 passed" in output, output
    workers, ports, names = zip(*seen(tmp_path), strict=True)
    assert len(set(workers)) > 1
    assert len(set(ports)) == 1
    assert set(names) == {f"pytest-{run.pid}"}
    assert left(run.pid) == []


async def test_a_run_that_is_killed_leaves_nothing(tmp_path):
    with begin(tmp_path, when_last="os.kill(os.getpid(), 9)") as run:
        output, _ = run.communicate()
    assert run.returncode == -signal.SIGKILL, output
    assert len(seen(tmp_path)) == 4

    async def nothing_is_left() -> bool:
        return left(run.pid) == []

    await eventually(nothing_is_left)


@pytest.mark.parametrize("mark", ["control_plane", "not control_plane"])
def test_the_mark_selects_what_needs_it(tmp_path, mark):
    with begin(tmp_path, "--collect-only", "-q", "-m", mark, when_last="pass") as run:
        output, _ = run.communicate()
    assert ("test_it_is_shared" in output) == (mark == "control_plane")
