"""Certificates and keys of a control plane, made by the `openssl` command in milliseconds: all keys are on P-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.commands import run
from devcluster.control_plane.config import ADDRESS, API_SERVICE_ADDRESS

CONFIG = f"""\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:{ADDRESS}, IP:{API_SERVICE_ADDRESS}, DNS:localhost, DNS:kubernetes.default.svc
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
"""The whole configuration: nothing depends on the machine's own openssl.cnf. The key identifiers are what Python 3.13's
ssl asks of a chain (VERIFY_X509_STRICT)."""

DAYS = "3650"
DO = "`openssl version` has to say 3.0 or later; see `df -h` and the log"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What to sign: file name without its end, subject, kind (a section above), the authority's file name."""

    name: str
    subject: str
    kind: str
    authority: str


# Users and groups that RBAC knows from the start: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy.
CERTIFICATES = (
    Certificate("apiserver", "/CN=kube-apiserver", "server", "ca"),
    Certificate("admin", "/O=system:masters/CN=admin", "client", "ca"),
    Certificate("controller-manager", "/CN=system:kube-controller-manager", "client", "ca"),
    Certificate("scheduler", "/CN=system:kube-scheduler", "client", "ca"),
    Certificate("front-proxy-client", "/CN=front-proxy-client", "client", "front-proxy-ca"),
)


def make(folder: Path, *, log: Path) -> None:
    """Make everything in ``folder``, which must be empty: ``NAME.crt``, ``NAME.key`` (mode 0600), ``*.pub``.

    Raises :class:`~devcluster.errors.DevError` when `openssl` is missing, too old or cannot write.
    """
    (folder / "openssl.cnf").write_text(CONFIG)
    for name in ("ca", "front-proxy-ca"):
        _request(folder, name, f"/CN={name}", "authority", signer=(), log=log)
    for it in CERTIFICATES:
        signer = ("-CA", f"{it.authority}.crt", "-CAkey", f"{it.authority}.key")
        _request(folder, it.name, it.subject, it.kind, signer=signer, log=log)
    tokens = "service-accounts"
    new_key = ("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    run((*new_key, "-out", f"{tokens}.key"), cwd=folder, log=log, do=DO)
    run(("openssl", "pkey", "-in", f"{tokens}.key", "-pubout", "-out", f"{tokens}.pub"), cwd=folder, log=log, do=DO)
    for key in folder.glob("*.key"):
        key.chmod(0o600)


def _request(folder: Path, name: str, subject: str, kind: str, *, signer: Sequence[str], log: Path) -> None:
    run(
        ("openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", kind, "-subj", subject, "-days", DAYS,
         "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", f"{name}.key",
         "-out", f"{name}.crt", *signer),
        cwd=folder,
        log=log,
        do=DO,
    )  # fmt: skip
