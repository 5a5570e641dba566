"""Programs built from Go modules at pinned versions: `hack/tools/NAME/go.mod` and `go.sum`, without a line of Go."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster import versions
from devcluster.cache import Cache, content_key, require_space
from devcluster.commands import attempt, run
from devcluster.errors import DevError
from devcluster.steps import Steps

MODULES = Path(__file__).resolve().parent.parent / "tools"
BUILD_GIGABYTES = 6.0
"""What Go's own caches take for all tools together (measured: modules 2.6 GB, objects 3.1 GB)."""

# The modules are built outside their repository, so nothing stamps them; kubeadm, the API server and helm refuse to
# work with v0.0.0 (component-base/version/base.go says which variables).
_COMPONENT = "k8s.io/component-base/version"
KUBERNETES_STAMPS = (
    f"-X {_COMPONENT}.gitVersion={versions.KUBERNETES} "
    f"-X {_COMPONENT}.gitMajor={versions.KUBERNETES[1:].split('.')[0]} "
    f"-X {_COMPONENT}.gitMinor={versions.KUBERNETES.split('.')[1]} "
    f"-X {_COMPONENT}.gitTreeState=clean -X {_COMPONENT}.gitCommit=modules "
    f"-X k8s.io/client-go/pkg/version.gitVersion={versions.KUBERNETES}"
)


@dataclass(frozen=True, slots=True)
class GoTool:
    """One program: the module under hack/tools that pins it, the package it is, what the linker is told."""

    module: str
    package: str
    stamps: str = ""


TOOLS = {
    "etcd": GoTool("etcd", "go.etcd.io/etcd/server/v3"),
    **{
        name: GoTool("kubernetes", f"k8s.io/kubernetes/cmd/{name}", KUBERNETES_STAMPS)
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubelet",
            "kubeadm",
            "kubectl",
        )
    },
    "coredns": GoTool("coredns", "github.com/coredns/coredns"),
    "docker-compose": GoTool(
        "compose", "github.com/docker/compose/v2/cmd", "-X github.com/docker/compose/v2/internal.Version=v2.40.3"
    ),
    "helm": GoTool("helm", "helm.sh/helm/v4/cmd/helm"),
    "kind": GoTool("kind", "sigs.k8s.io/kind"),
    "local-path-provisioner": GoTool("local-path-provisioner", "github.com/rancher/local-path-provisioner"),
    "traefik": GoTool("traefik", "github.com/traefik/traefik/v3/cmd/traefik"),
}


def build(name: str, *, cache: Cache, steps: Steps) -> Path:
    """Return a program, built where the cache has none; static (CGO off), stripped."""
    tool = TOOLS[name]
    key = tool_key(name)
    place = cache.place("tools", key) / name
    if place.exists():
        return place
    go = _go()
    require_space(cache.root, BUILD_GIGABYTES, purpose=f"building {name}")
    with cache.made("tools", key) as folder:
        if folder is not None:
            with steps.step(f"building {name} from Go modules") as log:
                run(
                    (go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {tool.stamps}",
                     "-o", folder / name, tool.package),
                    log=log,
                    env={"CGO_ENABLED": "0"},
                    cwd=MODULES / tool.module,
                    do="the Go module registry has to answer once; then read the log",
                )  # fmt: skip
    return place


def tool_key(name: str) -> str:
    """Hash what a program is made of: pinned modules, package, linker stamps, architecture."""
    tool = TOOLS[name]
    folder = MODULES / tool.module
    return content_key(
        {
            "name": name,
            "package": tool.package,
            "stamps": tool.stamps,
            "go.mod": (folder / "go.mod").read_bytes(),
            "go.sum": (folder / "go.sum").read_bytes(),
            "architecture": platform.machine(),
        }
    )


def _go() -> str:
    """Return the go command; any from 1.21 fetches the version a module asks for (Go toolchains, GOTOOLCHAIN)."""
    go = shutil.which("go")
    if go is None:
        raise DevError("no `go` on PATH, and a program has to be built", do="install Go 1.21 or later")
    status, output, _ = attempt((go, "env", "GOVERSION"))
    numbers = output.strip().removeprefix("go").split(".")
    if status != 0 or len(numbers) < 2 or (int(numbers[0]), int("".join(filter(str.isdigit, numbers[1])))) < (1, 21):
        raise DevError(f"`{go}` is {output.strip() or 'broken'}, expected go1.21 or later", do="install a newer Go")
    return go
