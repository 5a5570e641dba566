"""How clients outside the cluster reach the gateways: an Ingress, or an HTTPRoute of the Gateway API."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import Label, Name, Part, Strings, rule, with_rules

Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
ADDRESS = r"^[0-9]+([.][0-9]+){3}$"
HOST_MESSAGE = "expected a DNS name, not an IP address"


class IngressProfile(StrEnum):
    """Annotations that a controller needs to leave long WebSockets alone (reference/operator-engineering.md 3.4)."""

    NONE = "None"
    TRAEFIK = "Traefik"
    HAPROXY = "HAProxy"
    """haproxytech/kubernetes-ingress."""
    HAPROXY_INGRESS = "HAProxyIngress"
    """jcmoraisjr/haproxy-ingress."""
    NGINX = "IngressNginx"
    """kubernetes/ingress-nginx, retired in March 2026."""


class IngressTls(Part):
    """TLS at the ingress."""

    secret_name: Name = Field(description="Secret of type kubernetes.io/tls in the stack's namespace")


class Ingress(Part):
    """An Ingress to the gateways."""

    model_config = with_rules(rule(f"!self.host.matches('{ADDRESS}')", HOST_MESSAGE, field=".host"))

    host: Host = Field(description="the name clients connect to")
    class_name: Name | None = Field(None, description="IngressClass; the cluster's default")
    tls: IngressTls | None = Field(None, description="the certificate; without one the controller's own, or none")
    profile: IngressProfile = Field(IngressProfile.NONE, description="annotations that a controller needs")
    annotations: Strings = Field(default_factory=dict, description="further annotations; they win over the profile's")


class ParentRef(Part):
    """The Gateway an HTTPRoute is attached to."""

    name: Name = Field(description="the Gateway")
    namespace: Label | None = Field(None, description="its namespace; the stack's own")
    section_name: Name | None = Field(None, description="one of its listeners; every one that matches")


class HttpRoute(Part):
    """An HTTPRoute (Gateway API v1) to the gateways."""

    model_config = with_rules(
        rule(f"!self.hostnames.exists(h, h.matches('{ADDRESS}'))", HOST_MESSAGE, field=".hostnames")
    )

    hostnames: Annotated[list[Host], Field(min_length=1, max_length=16)] = Field(
        description="the names clients connect to"
    )
    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)] = Field(
        description="the Gateways it is attached to"
    )
    annotations: Strings = Field(default_factory=dict, description="annotations of the route")


__all__ = ["Host", "HttpRoute", "Ingress", "IngressProfile", "IngressTls", "ParentRef", "rule"]
