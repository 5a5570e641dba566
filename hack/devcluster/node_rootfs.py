"""The file system of a Kubernetes node as one tar file: Debian packages, the kind module's own files, our programs.

Nothing is unpacked here, so nothing of it needs root or is left behind. What is done to the packages is what kind's own
base image does to them (sigs.k8s.io/kind `images/base/Dockerfile`).
"""

import fnmatch
import tarfile
from collections.abc import Mapping
from pathlib import Path

from devcluster.commands import run
from devcluster.oci import add_bytes, add_file, add_folder, add_link

SUITE = "bookworm"
"""Debian 12: containerd 1.6 and runc 1.1, verified with Kubernetes 1.36 (KEP-4033: 1.37 wants containerd 2)."""

NODE_PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "catatonit",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "dbus",
    "ethtool",
    "hostname",
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "libseccomp2",
    "mount",
    "nftables",
    "procps",
    "runc",
    "socat",
    "systemd",
    "systemd-sysv",
    "util-linux",
)
PROXY_PACKAGES = ("nftables",)
"""kube-proxy in nftables mode runs `nft` and nothing else (KEP-3866)."""

DROPPED = (
    "dev/*",
    "usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "usr/lib/systemd/system/multi-user.target.wants/*",
    "usr/lib/systemd/system/local-fs.target.wants/*",
    "usr/lib/systemd/system/sockets.target.wants/*udev*",
    "usr/lib/systemd/system/sockets.target.wants/*initctl*",
    "usr/lib/systemd/system/basic.target.wants/*",
    "etc/systemd/system/*.wants/*",
)
"""Units that a container has no use for, and device nodes, which every container gets of its own."""

_SLIM = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
)
_UNITS = ("kubelet", "containerd", "undo-mount-hacks")
_CONTAINERD_PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2")


def debian_packages(tar: Path, *, log: Path) -> None:
    """Install the node's packages into a tar file (a minute: downloads, then dpkg)."""
    _mmdebstrap("minbase", NODE_PACKAGES, tar, log=log)


def proxy_packages(tar: Path, *, log: Path) -> None:
    """Unpack what kube-proxy runs, with its libraries, into a tar file: nothing is installed, so it takes seconds."""
    _mmdebstrap("extract", PROXY_PACKAGES, tar, log=log)


def _mmdebstrap(variant: str, packages: tuple[str, ...], tar: Path, *, log: Path) -> None:
    run(
        ("mmdebstrap", "--quiet", f"--variant={variant}", f"--include={','.join(packages)}", *_SLIM, SUITE, tar),
        log=log,
        do="a Debian mirror has to answer; then read the log",
    )


def extract(tar: Path, member: str, target: Path) -> Path:
    """Take one file out of a tar file."""
    with tarfile.open(tar) as archive:
        content = archive.extractfile(f"./{member}")
        if content is None:
            raise tarfile.ReadError(f"{tar} has no {member}")
        target.write_bytes(content.read())
    return target


def write(
    tar: Path,
    *,
    packages: Path,
    kind_files: Path,
    programs: Mapping[str, Path],
    kind_facts: Mapping[str, bytes],
    pause: str,
) -> None:
    """Put a node's file system together.

    ``packages`` is the tar file of :func:`debian_packages`, ``kind_files`` the folder `images/base/files` of the kind
    module, ``programs`` go into `/usr/bin`, ``kind_facts`` are what kind reads below `/kind`, ``pause`` is the
    reference of the sandbox image.
    """
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as out:
        for folder in ("kind", "kind/bin", "kind/manifests", "etc/kubernetes", "etc/kubernetes/manifests"):
            add_folder(out, folder)
        _add_kind_files(out, kind_files, pause=pause)
        for name, content in kind_facts.items():
            add_bytes(out, f"kind/{name}", content)
        for name, program in programs.items():
            add_file(out, f"usr/bin/{name}", program)
        _add_links(out)
        with tarfile.open(packages) as debian:
            _add_packages(out, debian, ours=set(out.getnames()))


def _add_packages(out: tarfile.TarFile, debian: tarfile.TarFile, *, ours: set[str]) -> None:
    """Add what Debian's packages hold, but for what is dropped and what is ours."""
    for entry in debian:
        entry.name = entry.name.removeprefix("./")
        if entry.name in ours or is_dropped(entry.name):
            continue
        if entry.name == "etc/systemd/journald.conf":
            add_bytes(out, entry.name, _content(debian, entry) + b"ReadKMsg=no\n")
            continue
        out.addfile(entry, debian.extractfile(entry) if entry.isfile() else None)
        if entry.name.startswith("usr/lib/cni/") and entry.isfile():
            add_bytes(out, f"opt/cni/bin/{Path(entry.name).name}", _content(debian, entry), mode=0o755)


def is_dropped(name: str) -> bool:
    """Whether a file of the packages stays out of the node."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DROPPED)


def containerd_config(text: str, *, pause: str) -> str:
    """Fit kind's containerd configuration to our pause image and to machines that may not lower an OOM score.

    Lowering `oom_score_adj` takes CAP_SYS_RESOURCE, which not every machine gives; kind turns it off where it runs in
    a user namespace.
    """
    lines = []
    for line in text.splitlines():
        key = line.split("=")[0].strip()
        if key == "sandbox_image":
            line = f'  sandbox_image = "{pause}"'  # noqa: PLW2901
        elif key == "restrict_oom_score_adj":
            line = "  restrict_oom_score_adj = true"  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def _add_kind_files(out: tarfile.TarFile, kind_files: Path, *, pause: str) -> None:
    for source in sorted(path for path in kind_files.rglob("*") if path.is_file()):
        name = str(source.relative_to(kind_files))
        if name == "etc/containerd/config.toml":
            add_bytes(out, name, containerd_config(source.read_text(), pause=pause).encode())
        elif not name.startswith("LICENSES/"):
            executable = name.startswith(("kind/bin/", "usr/local/bin/"))
            add_file(out, name, source, mode=0o755 if executable else 0o644)


def _add_links(out: tarfile.TarFile) -> None:
    for program in _CONTAINERD_PROGRAMS:  # kind's unit and its commands look there
        add_link(out, f"usr/local/bin/{program}", f"/usr/bin/{program}")
    for unit in _UNITS:
        add_link(
            out, f"etc/systemd/system/multi-user.target.wants/{unit}.service", f"/etc/systemd/system/{unit}.service"
        )
    add_link(out, "etc/systemd/system/systemd-binfmt.service", "/dev/null")  # it would change the machine's kernel


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(entry)
    if content is None:
        raise tarfile.ReadError(f"{entry.name} is no file")
    return content.read()
