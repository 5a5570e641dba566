"""A license authority as a vendor runs one: in a namespace of its own, over TLS, with its ledger on a volume."""

import asyncio
import json
import secrets
import ssl
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from e2e.support import manifests
from e2e.support.certificates import Certified, certified
from e2e.support.clients import Result, run
from e2e.support.installed_operator import Operator
from e2e.support.manifests import Manifest
from e2e.support.stack import apply, own_namespace

from devcluster import product_images
from streamstack_cli import exit_codes

NAME = "license-authority"
PORT = 8443
FORWARD_SECONDS = 30.0
READY_SECONDS = 180.0
CUSTOMER = "acme"


@dataclass(frozen=True, slots=True)
class Authority:
    """A running authority; ``folder`` has what its administrator has."""

    operator: Operator
    namespace: str
    folder: Path
    tls: Certified

    @property
    def url(self) -> str:
        """Where proxies reach it."""
        return f"https://{NAME}.{self.namespace}.svc:{PORT}"

    async def kubectl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run kubectl in the namespace; its standard output. DevError when it fails."""
        return await asyncio.to_thread(
            self.operator.kube.capture, f"--namespace={self.namespace}", *arguments, timeout_seconds=timeout_seconds
        )

    async def available(self) -> None:
        """Wait until it serves."""
        waiting = ("rollout", "status", f"statefulset/{NAME}", f"--timeout={READY_SECONDS:g}s")
        await self.kubectl(*waiting, timeout_seconds=READY_SECONDS + 10)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Have no authority in the block; its ledger stays."""
        await self.kubectl("scale", f"statefulset/{NAME}", "--replicas=0")
        gone = ("wait", "--for=delete", f"pod/{NAME}-0", f"--timeout={READY_SECONDS:g}s")
        await self.kubectl(*gone, timeout_seconds=READY_SECONDS + 10)
        try:
            yield
        finally:
            await self.kubectl("scale", f"statefulset/{NAME}", "--replicas=1")
            await self.available()

    async def streamstack(self, *arguments: str | Path) -> str:
        """Run a command of ``streamstack`` that has to succeed at this authority; its standard output."""
        result = await self.attempt(*arguments)
        assert result.status == exit_codes.OK, f"streamstack {arguments}: {result}"
        return result.out

    async def attempt(self, *arguments: str | Path) -> Result:
        """Run a command of ``streamstack`` at this authority, however it ends."""
        async with forwarded(self.operator, self.namespace, f"service/{NAME}", PORT) as port:
            place = ("--authority", f"https://localhost:{port}", "--ca-file", self.tls.authority)
            credential = ("--credential-file", self.folder / "credential")
            command = (sys.executable, "-m", "streamstack_cli", *arguments, *place, *credential)
            return await run(*map(str, command))

    async def keys(self) -> bytes:
        """Return its public keys, which a proxy is told with ``extraKeysKey``: it is no vendor's."""
        context = ssl.create_default_context(cafile=str(self.tls.authority))
        async with forwarded(self.operator, self.namespace, f"service/{NAME}", PORT) as port:

            def fetch() -> bytes:
                with urllib.request.urlopen(f"https://localhost:{port}/v1/keys", context=context) as response:
                    content: bytes = response.read()
                    return content

            return await asyncio.to_thread(fetch)

    async def billed(self) -> dict[str, Any]:
        """Return the customer's sums, as ``streamstack usage report --json`` tells them, of yesterday to tomorrow."""
        today = datetime.now(UTC).date()
        period = ("--from", str(today - timedelta(days=1)), "--to", str(today + timedelta(days=1)))
        told = await self.streamstack("usage", "report", "--json", "--customer", CUSTOMER, *period)
        total: dict[str, Any] = json.loads(told)["total"]
        return total


@asynccontextmanager
async def running(operator: Operator, folder: Path) -> AsyncIterator[Authority]:
    """Run an authority; its namespace is gone afterwards."""
    async with own_namespace(operator) as namespace:
        tls = certified(folder, f"{NAME}.{namespace}.svc", "localhost")
        (folder / "credential").write_text(f"{secrets.token_urlsafe(32)}\n")
        authority = Authority(operator, namespace, folder, tls)
        await apply(operator, *_manifests(authority))
        await authority.available()
        yield authority


@asynccontextmanager
async def forwarded(operator: Operator, namespace: str, what: str, port: int) -> AsyncIterator[int]:
    """Reach a pod's port from this machine, as ``kubectl port-forward`` does; the port here."""
    kube = operator.kube
    process = await asyncio.create_subprocess_exec(
        *(kube.kubectl, f"--kubeconfig={kube.kubeconfig}", f"--namespace={namespace}"),
        *("port-forward", "--address=127.0.0.1", what, f":{port}"),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(FORWARD_SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("Forwarding from 127.0.0.1:"), f"port-forward to {what} says {line!r}"
        yield int(line.split()[2].rpartition(":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _manifests(authority: Authority) -> tuple[Manifest, ...]:
    namespace, folder = authority.namespace, authority.folder
    selector = {"app.kubernetes.io/name": NAME}
    metadata = {"name": NAME, "namespace": namespace, "labels": selector}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": selector, "ports": [{"name": "https", "port": PORT, "targetPort": "https"}]},
    }
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": NAME,
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": _pod(authority)},
            "volumeClaimTemplates": [{"metadata": {"name": "ledger"}, "spec": claim}],
        },
    }
    return (
        manifests.secret(namespace, f"{NAME}-credential", {"credential": folder / "credential"}),
        manifests.tls_secret(namespace, authority.tls.certificate, authority.tls.key, name=f"{NAME}-tls"),
        service,
        stateful_set,
    )


def _pod(authority: Authority) -> Manifest:
    """A pod within Pod Security "restricted", which is what the namespace takes."""
    variables = {
        "PORT": str(PORT),
        "PUBLIC_URL": authority.url,
        "STREAMSTACK_CREDENTIAL_FILE": "/run/credential/credential",
        "TLS_CERTIFICATE_FILE": "/run/tls/tls.crt",
        "TLS_KEY_FILE": "/run/tls/tls.key",
    }
    probe = {"httpGet": {"path": "/readyz", "port": "https", "scheme": "HTTPS"}, "periodSeconds": 1}
    container = {
        "name": NAME,
        "image": product_images.reference(NAME),
        "imagePullPolicy": "Never",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": "https", "containerPort": PORT}],
        "readinessProbe": probe,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "ledger", "mountPath": "/var/lib/streamstack"},
            {"name": "credential", "mountPath": "/run/credential", "readOnly": True},
            {"name": "tls", "mountPath": "/run/tls", "readOnly": True},
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "credential", "secret": {"secretName": f"{NAME}-credential"}},
            {"name": "tls", "secret": {"secretName": f"{NAME}-tls"}},
        ],
    }
