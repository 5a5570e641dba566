"""How each program of a control plane is told what to do. Pure: paths and numbers in, command lines out."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ADDRESS = "127.0.0.1"
ETCD_SOCKET = "unix://etcd:0"
PEER_SOCKET = "unix://etcd-peer:0"
"""Unix sockets in the working folder: no port to be raced for, and no path that is too long for a socket's address.
etcd wants an authority that looks like host and port; its "address" is the file's name (transport/unix_listener.go)."""

SERVICE_ADDRESSES = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a control plane's files are."""

    folder: Path

    @property
    def pki(self) -> Path:
        """Folder of certificates and keys."""
        return self.folder / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def facts(self) -> Path:
        """What is known of a control plane that is up."""
        return self.folder / "facts.json"

    @property
    def logs(self) -> Path:
        """Folder of what each program says."""
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        """Return a program's output."""
        return self.logs / f"{name}.log"


def etcd(program: Path) -> list[str | Path]:
    """One member; nothing it stores has to survive the machine, so it never waits for the disk."""
    return [
        program,
        "--data-dir=etcd-data",
        f"--listen-client-urls={ETCD_SOCKET}",
        f"--advertise-client-urls={ETCD_SOCKET}",
        f"--listen-peer-urls={PEER_SOCKET}",
        f"--initial-advertise-peer-urls={PEER_SOCKET}",
        f"--initial-cluster=default={PEER_SOCKET}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def apiserver(program: Path, *, pki: Path, port: int) -> list[str | Path]:
    """An API server on loopback, as strict as the strictest cluster we meet.

    - Loopback cannot stand in the `kubernetes` EndpointSlice, so nothing keeps one (`--endpoint-reconciler-type`).
    - The port is shared (SO_REUSEPORT) with the socket that reserved it.
    - OwnerReferencesPermissionEnforcement is on, as on OpenShift: who sets `blockOwnerDeletion` needs `update` on the
      owner's `finalizers`.
    """
    return [
        program,
        f"--etcd-servers={ETCD_SOCKET}",
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={port}",
        "--permit-port-sharing",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
        "--allow-privileged=true",
    ]


def controller_manager(program: Path, *, pki: Path) -> list[str | Path]:
    """Every controller under its own service account, so that RBAC holds for each as on a real cluster.

    Its own limit of 20 requests a second would make the first 40 of them take four seconds to be ready. It serves
    nothing (`--secure-port=0`): no port.
    """
    return [
        program,
        f"--kubeconfig={pki}/controller-manager.kubeconfig",
        "--secure-port=0",
        "--leader-elect=false",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials=true",
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
        "--horizontal-pod-autoscaler-sync-period=1s",
    ]


def scheduler(program: Path, *, pki: Path) -> list[str | Path]:
    """A scheduler, for tests that make nodes up."""
    return [program, f"--kubeconfig={pki}/scheduler.kubeconfig", "--secure-port=0", "--leader-elect=false"]


def kubeconfig(*, port: int, authority: bytes, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig that stands alone: the certificates (PEM) are in it. JSON, which is YAML."""

    def named(kind: str, content: Mapping[str, str]) -> list[dict[str, object]]:
        return [{"name": "control-plane", kind: content}]

    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": named(
                "cluster", {"server": f"https://{ADDRESS}:{port}", "certificate-authority-data": data(authority)}
            ),
            "users": named("user", {"client-certificate-data": data(certificate), "client-key-data": data(key)}),
            "contexts": named("context", {"cluster": "control-plane", "user": "control-plane"}),
            "current-context": "control-plane",
        }
    )
