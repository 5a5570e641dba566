"""Helm for tests, built when the first one asks for it. Registered as a plugin in tests/conftest.py."""

import pytest

from devcluster import gotools
from devcluster.cache import Cache, default_root
from devcluster.steps import Steps
from support.helm import Helm

BUILD_SECONDS = 900
"""On two cores Helm takes two minutes to build where Go has nothing of it."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    cache = Cache()
    program = gotools.build("helm", cache=cache, steps=Steps(cache.logs))
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which selects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Helm; while it is not built, the first test may take its time."""
    built = (default_root() / "tools" / gotools.tool_key("helm") / "helm").exists()
    for item in items:
        if "helm" in getattr(item, "fixturenames", ()):
            item.add_marker("helm")
            if not built and item.get_closest_marker("control_plane") is None:
                item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark: ``-m "not helm"`` runs everything that needs no Helm."""
    config.addinivalue_line("markers", "helm: needs Helm, which Go builds")
