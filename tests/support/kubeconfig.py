"""Kubeconfigs: to somewhere else, or as somebody else."""

import base64
from pathlib import Path

import yaml

from support.namespaces import Namespace


def kubeconfig_for(folder: Path, server: str, *, token: str | None = None, ca: bytes | None = None) -> Path:
    """Write a kubeconfig for ``server``."""
    cluster = {"server": server} | ({"certificate-authority-data": base64.b64encode(ca).decode()} if ca else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token} if token else {}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def kubeconfig_through(folder: Path, known: Path, server: str) -> Path:
    """Write a kubeconfig like ``known`` that reaches its API server by another address, under its own name."""
    config = yaml.safe_load(known.read_text())
    for each in config["clusters"]:
        each["cluster"]["server"] = server
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


async def kubeconfig_with_token(namespace: Namespace, account: str, *, folder: Path) -> Path:
    """Make a service account and write a kubeconfig with a token it was given."""
    async with namespace.as_service_account(account) as api:
        known = api.kube.configuration
        token = known.api_key["authorization"].removeprefix("Bearer ")
        return kubeconfig_for(folder, known.host, token=token, ca=Path(known.ssl_ca_cert).read_bytes())
