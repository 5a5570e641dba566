"""The gateways: a Deployment and a disruption budget a revision, and the Services that lead new sessions to one."""

from typing import Final

from streamstack_operator import names
from streamstack_operator.build import workload
from streamstack_operator.build.meta import in_traffic, metadata
from streamstack_operator.build.rendering import Rendered, renderer, revision_of
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.ingress import IngressProfile
from streamstack_operator.model.status import Rendering
from streamstack_operator.names import GATEWAY_PORT, Component

SERVICE_PORT: Final = 80
SERVICE_PORT_TLS: Final = 443


def services(stack: Stack, revision: str) -> tuple[Manifest, ...]:
    """Return the Services that follow where new sessions go: to this revision's pods in traffic."""
    return service(stack, revision), peers(stack, revision)


def render(stack: Stack, rendering: Rendering) -> Rendered:
    """Return the revision that the spec asks for, as ``rendering`` makes it. Raises UnknownRendererError."""
    make = renderer(rendering).gateway
    revision = revision_of(lambda name: make(stack, rendering.image, name), rendering)
    deployment = workload.deployment(
        stack,
        names.gateway(stack.name, revision),
        Component.GATEWAY,
        make(stack, rendering.image, revision),
        revision=revision,
    )
    return Rendered(revision, deployment, rendering)


def service_port(stack: Stack) -> int:
    """Return the Service's port: that of HTTPS where the gateways speak TLS themselves."""
    return SERVICE_PORT if stack.spec.gateway.tls is None else SERVICE_PORT_TLS


def service(stack: Stack, revision: str) -> Manifest:
    """Return the Service that clients come through: new sessions go to this revision's pods in traffic."""
    with_tls = stack.spec.gateway.tls is not None
    about = metadata(stack, names.gateway(stack.name), Component.GATEWAY)
    if with_tls and stack.spec.ingress is not None and stack.spec.ingress.profile is IngressProfile.TRAEFIK:
        about["annotations"] = {"traefik.ingress.kubernetes.io/service.serversscheme": "https"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": about,
        "spec": {
            "type": "ClusterIP",
            "selector": in_traffic(stack, Component.GATEWAY, revision=revision),
            "ports": [
                {
                    "name": "ws",
                    "port": service_port(stack),
                    "targetPort": "ws",
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/wss" if with_tls else "kubernetes.io/ws",
                }
            ],
        },
    }


def peers(stack: Stack, revision: str) -> Manifest:
    """Return the headless Service whose addresses are the gateways that share what a license allows.

    They are those that new sessions may come to: the same pods as behind the clients' Service.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, names.gateway_peers(stack.name), Component.GATEWAY),
        "spec": {
            "clusterIP": "None",
            "selector": in_traffic(stack, Component.GATEWAY, revision=revision),
            # Nobody connects: gateways count the addresses.
            "ports": [{"name": "ws", "port": GATEWAY_PORT, "targetPort": "ws", "protocol": "TCP"}],
        },
    }


def budget(stack: Stack, revision: str) -> Manifest:
    """Return the disruption budget of a revision."""
    name, disruption = names.gateway(stack.name, revision), stack.spec.gateway.disruption
    return workload.budget(stack, name, Component.GATEWAY, disruption, revision=revision)
