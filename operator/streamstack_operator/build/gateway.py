"""The gateways: a Deployment and a disruption budget a revision, and the Service that sends new sessions to one."""

from typing import Final

from streamstack_operator import names
from streamstack_operator.build import workload
from streamstack_operator.build.meta import in_traffic, metadata
from streamstack_operator.build.rendering import Rendered, renderer, revision_of
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.ingress import IngressProfile
from streamstack_operator.model.status import Rendering
from streamstack_operator.names import Component

SERVICE_PORT: Final = 80
SERVICE_PORT_TLS: Final = 443


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


def budget(stack: Stack, revision: str) -> Manifest:
    """Return the disruption budget of a revision."""
    name, disruption = names.gateway(stack.name, revision), stack.spec.gateway.disruption
    return workload.budget(stack, name, Component.GATEWAY, disruption, revision=revision)
