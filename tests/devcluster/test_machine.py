import platform

import pytest

from devcluster.errors import DevError
from devcluster.machine import require_architecture


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_clusters_run_on_64_bit_machines(monkeypatch: pytest.MonkeyPatch, machine: str, name: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert require_architecture() == name


@pytest.mark.parametrize("machine", ["i686", "armv7l", "riscv64", ""])
def test_other_machines_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(DevError, match=f"{machine}, expected x86_64 or aarch64"):
        require_architecture()
