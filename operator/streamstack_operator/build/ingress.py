"""The Ingress to the gateways, with what a controller needs to leave long WebSockets alone.

Profiles hold only what these controllers read from an Ingress (reference/operator-engineering.md 3.4); what they read
from their own configuration alone is in the charts' notes.
"""

from typing import Final

from streamstack_operator import names
from streamstack_operator.build.meta import metadata
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.ingress import Ingress, IngressProfile
from streamstack_operator.names import Component

HAPROXY_SLOTS: Final = 42
"""Servers of a backend that haproxytech/kubernetes-ingress keeps room for by default (scale-server-slots)."""

QUIET_SECONDS: Final = 3600
"""Silence that ingress-nginx lets pass; our gateways ping far more often."""


def children(stack: Stack) -> tuple[Manifest, ...]:
    """Return the Ingress, if there is to be one."""
    wanted = stack.spec.ingress
    return () if wanted is None else (_ingress(stack, wanted),)


def _ingress(stack: Stack, wanted: Ingress) -> Manifest:
    about = metadata(stack, stack.name, Component.INGRESS)
    annotations = profile(stack, wanted) | wanted.annotations
    if annotations:
        about["annotations"] = dict(sorted(annotations.items()))
    backend = {"service": {"name": names.gateway(stack.name), "port": {"name": "ws"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Manifest = {"rules": [{"host": wanted.host, "http": {"paths": [path]}}]}
    if wanted.class_name is not None:
        spec["ingressClassName"] = wanted.class_name
    if wanted.tls is not None:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls.secret_name}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": about, "spec": spec}


def profile(stack: Stack, wanted: Ingress) -> dict[str, str]:
    """Return the annotations of a profile."""
    behind_tls = stack.spec.gateway.tls is not None
    match wanted.profile:
        case IngressProfile.TRAEFIK:
            return {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"} if wanted.tls else {}
        case IngressProfile.HAPROXY:
            slots = {"haproxy.org/scale-server-slots": str(_haproxy_slots(stack))}
            return slots | ({"haproxy.org/server-ssl": "true"} if behind_tls else {})
        case IngressProfile.HAPROXY_INGRESS:
            longest = f"{stack.spec.max_session_seconds + stack.spec.drain.margin_seconds}s"
            tunnel = {"haproxy-ingress.github.io/timeout-tunnel": longest}
            return tunnel | ({"haproxy-ingress.github.io/backend-protocol": "h1-ssl"} if behind_tls else {})
        case IngressProfile.NGINX:
            prefix = "nginx.ingress.kubernetes.io"
            quiet = {f"{prefix}/proxy-{way}-timeout": str(QUIET_SECONDS) for way in ("read", "send")}
            return quiet | ({f"{prefix}/backend-protocol": "HTTPS"} if behind_tls else {})
        case IngressProfile.NONE:
            return {}


def _haproxy_slots(stack: Stack) -> int:
    """More than there will be gateways in traffic: HAProxy reloads where it runs out, and its old process is ended."""
    gateway = stack.spec.gateway
    most = max(gateway.replicas, gateway.autoscaling.max_replicas if gateway.autoscaling else 0)
    return max(HAPROXY_SLOTS, most + 1)
