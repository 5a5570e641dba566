"""The HTTPRoute to the gateways (Gateway API v1); the Service's ``appProtocol`` says that it is WebSockets."""

from streamstack_operator import names
from streamstack_operator.build.gateway import service_port
from streamstack_operator.build.meta import metadata
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.ingress import HttpRoute
from streamstack_operator.names import Component


def children(stack: Stack) -> tuple[Manifest, ...]:
    """Return the HTTPRoute, if there is to be one."""
    wanted = stack.spec.http_route
    return () if wanted is None else (_route(stack, wanted),)


def _route(stack: Stack, wanted: HttpRoute) -> Manifest:
    about = metadata(stack, stack.name, Component.INGRESS)
    if wanted.annotations:
        about["annotations"] = dict(sorted(wanted.annotations.items()))
    backend = {"name": names.gateway(stack.name), "port": service_port(stack)}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": about,
        "spec": {
            "parentRefs": [
                parent.model_dump(mode="json", by_alias=True, exclude_none=True) for parent in wanted.parent_refs
            ],
            "hostnames": list(wanted.hostnames),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [backend],
                }
            ],
        },
    }
