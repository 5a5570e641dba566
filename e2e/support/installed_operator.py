"""The operator as its chart installs it, and helm itself."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.support.neighbour import ASK

from devcluster.cluster_state import ClusterFacts
from devcluster.commands import capture
from devcluster.kube import Kube

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/streamstack-operator"
STACK_CHART = ROOT / "charts/streamstack"
NAMESPACE = "streamstack-system"
RELEASE = "streamstack-operator"
CRD = "crd/streamingstacks.streamstack.dev"
SELECTOR = "--selector=app.kubernetes.io/component=operator"
WAIT_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Helm:
    """helm, with a configuration and a cache of its own."""

    program: Path
    kubeconfig: Path
    folder: Path

    def run(self, *arguments: str | Path) -> str:
        """Run helm; its standard output. DevError when it fails."""
        homes = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **homes, "KUBECONFIG": str(self.kubeconfig)}
        return capture((self.program, *arguments), env=environment, timeout_seconds=WAIT_SECONDS + 30)


@dataclass(frozen=True, slots=True)
class Operator:
    """The installed operator, and the cluster it is in. All calls block."""

    kube: Kube
    helm: Helm
    ingress_port: int
    namespace: str = NAMESPACE

    def pod(self) -> dict[str, Any]:
        """The operator's pod: the only one that nobody has asked to go."""
        pods = self.kube.objects("pods", f"--namespace={self.namespace}", SELECTOR)
        [pod] = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return pod

    def upgrade(self, **values: str) -> None:
        """Upgrade the release with the values it has and these beside them (``logging.level=Debug``)."""
        changed = [part for name, value in values.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]
        self.helm.run("upgrade", RELEASE, CHART, *self._where, "--reuse-values", *changed, *_waiting())

    def rollback(self) -> None:
        """Roll the release back to the revision before."""
        self.helm.run("rollback", RELEASE, *self._where, *_waiting())

    def kill(self) -> str:
        """End the operator with SIGKILL, its pod with it; the pod's name."""
        name = str(self.pod()["metadata"]["name"])
        where = f"--namespace={self.namespace}"
        self.kube.capture("delete", "pod", name, where, "--grace-period=0", "--force", "--wait=false")
        return name

    def available(self) -> None:
        """Wait until an operator is ready."""
        where = (f"--namespace={self.namespace}", f"--timeout={WAIT_SECONDS}s")
        self.kube.capture("rollout", "status", f"deployment/{RELEASE}", *where, timeout_seconds=WAIT_SECONDS + 10)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have no operator, as when its node is gone."""
        self._scale(0)
        self.kube.capture(
            "wait", "--for=delete", "pods", SELECTOR, f"--namespace={self.namespace}", f"--timeout={WAIT_SECONDS}s",
            timeout_seconds=WAIT_SECONDS + 10,
        )  # fmt: skip
        try:
            yield
        finally:
            self._scale(1)
            self.available()

    def metrics(self) -> str:
        """The operator's metrics, asked for in its own pod with its own credential."""
        answer = json.loads(self.python(ASK, "http://localhost:8090/metrics", "with-credential"))
        assert answer["status"] == 200, answer
        return str(answer["body"])

    def python(self, program: str, *arguments: str) -> str:
        """Run a Python program in the operator's pod; its standard output."""
        name = self.pod()["metadata"]["name"]
        where = f"--namespace={self.namespace}"
        return self.kube.capture("exec", where, name, "--", "python", "-c", program, *arguments)

    def log(self) -> str:
        """What the operator's pods logged."""
        return self.kube.attempt("logs", f"--namespace={self.namespace}", SELECTOR, "--tail=60", "--prefix")[1]

    @property
    def _where(self) -> tuple[str, ...]:
        return ("--namespace", self.namespace)

    def _scale(self, replicas: int) -> None:
        where = f"--namespace={self.namespace}"
        self.kube.capture("scale", where, f"deployment/{RELEASE}", f"--replicas={replicas}")


@contextmanager
def installed(
    cluster: ClusterFacts, helm: Helm, *, values: Mapping[str, str] | None = None, keep: bool = False
) -> Iterator[Operator]:
    """Install the operator anew, with the images that are on the nodes; afterwards it and its CRD are gone again."""
    kube = Kube(cluster.kubectl, cluster.kubeconfig)
    operator = Operator(kube, helm, cluster.ingress_port)
    where = ("--namespace", NAMESPACE)
    # One that an earlier run left has that run's image, under the same tag.
    helm.run("uninstall", RELEASE, *where, "--ignore-not-found", *_waiting())
    changes = [part for name, value in (values or {}).items() for part in ("--set", f"{name}={value}")]
    helm.run("install", RELEASE, CHART, *where, "--create-namespace", *changes, *_waiting())
    try:
        yield operator
    finally:
        if not keep:
            helm.run("uninstall", RELEASE, *where, *_waiting())
            kube.capture("delete", CRD, "--ignore-not-found", "--timeout=60s", timeout_seconds=90)
            kube.capture("delete", "namespace", NAMESPACE, "--timeout=120s", timeout_seconds=150)


def _waiting() -> tuple[str, ...]:
    return ("--wait", f"--timeout={WAIT_SECONDS}s")
