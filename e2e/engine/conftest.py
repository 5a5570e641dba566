"""An engine needs root, Debian's packages, and a part of the machine where it meets no other one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apart import ENGINE, ROOT, Apart, apart_from_others


@pytest.fixture(scope="session")
def packages() -> None:
    """Install what an engine needs while there is a network: in namespaces of our own no package mirror answers."""
    if os.geteuid() != 0:
        pytest.skip("namespaces and an engine of our own need root")
    subprocess.run([ROOT / "hack/packages", "docker.io", "iproute2", "nftables", "busybox-static"], check=True)


@pytest.fixture
def apart(packages: None) -> Iterator[Apart]:
    # Not in pytest's own folder: its name may be too long for the sockets in it.
    cache = Path(tempfile.mkdtemp(prefix="streamstack-engine-"))
    cache.chmod(0o755)
    with apart_from_others(cache) as here:
        yield here
        here.run(ENGINE, "down")
    shutil.rmtree(cache)
