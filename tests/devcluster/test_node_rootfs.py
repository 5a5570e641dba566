import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import node_rootfs
from devcluster.oci import add_bytes, add_folder, add_link

KIND_CONFIG = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = false
  snapshotter = "overlayfs"
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tarfile.TarFile]:
    """A node's file system made of a few packages' files, kind's files and one program."""
    with tarfile.open(tmp_path / "packages.tar", "w") as packages:
        add_folder(packages, "./etc")
        add_bytes(packages, "./etc/systemd/journald.conf", b"[Journal]\n")
        add_bytes(packages, "./etc/containerd/config.toml", b"of Debian's package")
        add_bytes(packages, "./dev/null", b"")
        add_bytes(packages, "./usr/lib/cni/ptp", b"plugin", mode=0o755)
        add_link(packages, "./usr/lib/systemd/system/multi-user.target.wants/dbus.service", "../dbus.service")
        add_link(packages, "./etc/systemd/system/timers.target.wants/apt-daily.timer", "/lib/apt-daily.timer")
    kind = tmp_path / "kind"
    for name, content in {
        "etc/containerd/config.toml": KIND_CONFIG,
        "kind/bin/hook.sh": "#!/bin/sh",
        "usr/local/bin/entrypoint": "#!/bin/sh",
        "LICENSES/README.txt": "",
    }.items():
        (kind / name).parent.mkdir(parents=True, exist_ok=True)
        (kind / name).write_text(content)
    (tmp_path / "kubelet").write_bytes(b"\x7fELF")
    node_rootfs.write(
        tmp_path / "node.tar",
        packages=tmp_path / "packages.tar",
        kind_files=kind,
        programs={"kubelet": tmp_path / "kubelet"},
        kind_facts={"version": b"v1.36.3"},
        pause="registry.k8s.io/pause:9",
    )
    with tarfile.open(tmp_path / "node.tar") as written:
        yield written


def text(node: tarfile.TarFile, name: str) -> str:
    content = node.extractfile(name)
    assert content is not None
    return content.read().decode()


def test_what_kind_ships_wins_over_debians_package_and_no_path_is_there_twice(node: tarfile.TarFile) -> None:
    names = node.getnames()
    assert len(names) == len(set(names))
    config = text(node, "etc/containerd/config.toml")
    assert 'sandbox_image = "registry.k8s.io/pause:9"' in config
    assert "restrict_oom_score_adj = true" in config
    assert 'snapshotter = "overlayfs"' in config, "kind's entrypoint looks for this line"


def test_units_and_devices_that_a_container_has_no_use_for_stay_out(node: tarfile.TarFile) -> None:
    names = set(node.getnames())
    assert not names & {
        "dev/null",
        "usr/lib/systemd/system/multi-user.target.wants/dbus.service",
        "etc/systemd/system/timers.target.wants/apt-daily.timer",
        "LICENSES/README.txt",
    }
    assert text(node, "etc/systemd/journald.conf") == "[Journal]\nReadKMsg=no\n"


def test_systemd_starts_kubelet_and_containerd(node: tarfile.TarFile) -> None:
    for unit in ("kubelet", "containerd"):
        link = node.getmember(f"etc/systemd/system/multi-user.target.wants/{unit}.service")
        assert link.linkname == f"/etc/systemd/system/{unit}.service"
    assert node.getmember("usr/local/bin/containerd").linkname == "/usr/bin/containerd"


def test_programs_scripts_and_plugins_can_be_run(node: tarfile.TarFile) -> None:
    for name in ("usr/bin/kubelet", "kind/bin/hook.sh", "usr/local/bin/entrypoint", "opt/cni/bin/ptp"):
        assert node.getmember(name).mode == 0o755, name
    assert text(node, "kind/version") == "v1.36.3"
