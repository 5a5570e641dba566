"""What a node image holds; its tag is the hash of this file, of what it uses, and of every pinned input."""

import json
from collections.abc import Mapping
from pathlib import Path

from devcluster import gotools, node_rootfs, versions
from devcluster.cache import content_key
from devcluster.commands import capture
from devcluster.docker import Docker
from devcluster.oci import Image, write_archive
from devcluster.streams import pour

HERE = Path(__file__).resolve().parent
STORAGE = HERE / "manifests" / "storage.yaml"
REGISTRY = "registry.k8s.io"
PAUSE = f"{REGISTRY}/pause:{versions.PAUSE_TAG}"
NODE_PROGRAMS = ("kubeadm", "kubectl", "kubelet")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROGRAMS = (*NODE_PROGRAMS, *CONTROL_PLANE, "kube-proxy", "etcd", "coredns", "local-path-provisioner", "traefik")
TRAEFIK = "docker.io/streamstack/traefik:node"
"""The ingress controller, which is in every node that is made here; others get it loaded (ingress.py)."""
ROOTFS_CHANGE = "ENV container=docker"
IMAGE_CHANGE = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
"""What systemd looks for (systemd.io/CONTAINER_INTERFACE), and what starts it; as in kind's own image."""

_SOURCES = ("node_contents.py", "node_rootfs.py", "oci.py", "manifests/storage.yaml")


def key() -> str:
    """Hash everything that goes into the image of this checkout."""
    kind = gotools.MODULES / "kind"
    return content_key(
        {name: gotools.tool_key(name) for name in PROGRAMS}
        | {name: (HERE / name).read_bytes() for name in _SOURCES}
        | {name: (kind / name).read_bytes() for name in ("go.mod", "go.sum")}
    )


def write(rootfs: Path, archive: Path, *, programs: Mapping[str, Path], folder: Path, log: Path) -> None:
    """Write the two halves of a node image: its file system, and the images that are loaded into it.

    ``programs`` are the paths of :data:`PROGRAMS` by name; ``folder`` is for what is needed on the way.
    """
    packages, proxy = folder / "packages.tar", folder / "proxy.tar"
    node_rootfs.debian_packages(packages, log=log)
    node_rootfs.proxy_packages(proxy, log=log)
    node_rootfs.write(
        rootfs,
        packages=packages,
        kind_files=_kind_files(),
        programs={name: programs[name] for name in NODE_PROGRAMS},
        kind_facts={"version": versions.KUBERNETES.encode(), "manifests/default-storage.yaml": STORAGE.read_bytes()},
        pause=PAUSE,
    )
    write_archive(_images(programs, packages=packages, proxy=proxy, folder=folder), archive)
    packages.unlink()


def load(docker: Docker, archive: Path, *, container: str, log: Path) -> None:
    """Take images in as kind's own build does: not unpacked, so that each node unpacks only what it runs."""
    spec = json.loads(docker.capture("exec", container, "ctr", "oci", "spec"))
    # Limits that a node cannot raise would stop every pod on machines without CAP_SYS_RESOURCE.
    del spec["process"]["rlimits"]
    docker.capture(
        "exec", "--interactive", container, "sh", "-c", "cat > /etc/containerd/cri-base.json",
        stdin=json.dumps(spec).encode(),
    )  # fmt: skip
    command = (
        docker.binary, "exec", "--interactive", container, "ctr", "--namespace=k8s.io", "images", "import",
        "--all-platforms", "--no-unpack", "-",
    )  # fmt: skip
    pour(archive, [command], env=docker.env, log=log)


def _images(programs: Mapping[str, Path], *, packages: Path, proxy: Path, folder: Path) -> list[Image]:
    """Container images that a node starts without any registry, under the names that kubeadm asks for."""
    catatonit = node_rootfs.extract(packages, "usr/bin/catatonit", folder / "catatonit")
    busybox = node_rootfs.extract(packages, "usr/bin/busybox", folder / "busybox")
    images = [
        Image(f"{REGISTRY}/{name}:{versions.KUBERNETES}", {f"usr/local/bin/{name}": programs[name]})
        for name in CONTROL_PLANE
    ]
    provisioner = "usr/local/bin/local-path-provisioner"
    return [
        *images,
        Image(
            f"{REGISTRY}/kube-proxy:{versions.KUBERNETES}",
            {"usr/local/bin/kube-proxy": programs["kube-proxy"]},
            layers=(proxy,),
        ),
        Image(f"{REGISTRY}/etcd:{versions.ETCD_TAG}", {"usr/local/bin/etcd": programs["etcd"]}),
        Image(
            f"{REGISTRY}/coredns/coredns:{versions.COREDNS_TAG}",
            {"coredns": programs["coredns"]},
            entrypoint=("/coredns",),
        ),
        # catatonit -P does nothing and reaps, as the sandbox of a pod has to (catatonit(1)).
        Image(PAUSE, {"pause": catatonit}, entrypoint=("/pause", "-P")),
        Image(TRAEFIK, {"traefik": programs["traefik"]}, entrypoint=("/traefik",)),
        Image("docker.io/streamstack/local-path-provisioner:node", {provisioner: programs["local-path-provisioner"]}),
        Image(
            "docker.io/streamstack/busybox:node",
            {"bin/busybox": busybox},
            links={f"bin/{command}": "busybox" for command in ("sh", "mkdir", "rm")},
        ),
    ]


def _kind_files() -> Path:
    """Return the static files of a node that are part of the kind module itself."""
    module = gotools.MODULES / "kind"
    facts = json.loads(
        capture(
            ("go", "mod", "download", "-json", "sigs.k8s.io/kind"),
            cwd=module,
            timeout_seconds=300,
            do="the Go module registry has to answer once",
        )
    )
    return Path(facts["Dir"]) / "images" / "base" / "files"
