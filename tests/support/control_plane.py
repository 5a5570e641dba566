"""A real API server for tests: one control plane for a whole run, shared by all its xdist workers.

Registered as a plugin in tests/conftest.py. It starts when the first test asks for it, ends with the run, and dies with
the run's first process, whatever ends that: a worker that crashes takes nothing with it, a SIGKILL leaves nothing.
"""

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import control_plane as control_planes
from devcluster import gotools
from devcluster.cache import Cache, default_root
from devcluster.control_plane import ControlPlaneFacts
from devcluster.steps import Steps

if TYPE_CHECKING:
    from support.namespaces import Namespace

MARK = "control_plane"
BUILD_SECONDS = 1800
"""On two cores the three programs take six minutes to build where Go has nothing of them."""


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> ControlPlaneFacts:
    """A control plane: RBAC, admission, the controllers of Kubernetes, no node and no scheduler."""
    cache = Cache()
    run = _run_pid(request.config)
    return control_planes.up(_name(run), cache=cache, steps=Steps(cache.logs), die_with=run)


@pytest.fixture
async def namespace(control_plane: ControlPlaneFacts, tmp_path: Path) -> AsyncIterator["Namespace"]:
    """A namespace of the test's own, with its administrator; its deletion is not waited for."""
    from support.namespaces import own_namespace

    async with own_namespace(control_plane.kubeconfig, folder=tmp_path) as it:
        yield it


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark: ``-m "not control_plane"`` runs everything that needs no API server."""
    config.addinivalue_line("markers", f"{MARK}: needs etcd, kube-apiserver and kube-controller-manager (tier 2)")


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which selects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a control plane; while its programs are not built they may take their time."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(MARK)
        if item.get_closest_marker(MARK) and not _is_built():
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run's control plane, if it had one: in its first process, when the workers are gone."""
    run = _run_pid(config)
    if run == os.getpid() and (default_root() / "clusters" / _name(run)).exists():
        cache = Cache()
        control_planes.down(_name(run), cache=cache, steps=Steps(cache.logs, out=io.StringIO()))


def _run_pid(config: pytest.Config) -> int:
    """Process id of the run: pytest's own, or what an xdist worker was started by."""
    return os.getppid() if hasattr(config, "workerinput") else os.getpid()


def _name(run: int) -> str:
    return f"pytest-{run}"


def _is_built() -> bool:
    tools = default_root() / "tools"
    return all((tools / gotools.tool_key(name) / name).exists() for name in control_planes.PROGRAMS)
