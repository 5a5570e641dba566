"""What runs pods and what protects them: Deployments and disruption budgets."""

from typing import Any

from streamstack_operator.build.meta import metadata, selector
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.workload import Disruption
from streamstack_operator.names import ASR_PORT, Component


def deployment(
    stack: Stack,
    name: str,
    component: Component,
    template: Manifest,
    *,
    pool: str | None = None,
    revision: str | None = None,
    **more: Any,
) -> Manifest:
    """Return a Deployment, without ``spec.replicas``: its only writer is the scale subresource (DESIGN 8)."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(stack, name, component, pool=pool, revision=revision),
        "spec": {
            "selector": {"matchLabels": selector(stack, component, pool=pool, revision=revision)},
            # A revision's template never changes; where somebody edits it by hand, a new pod has to run first.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
            **more,
        },
    }


def budget(
    stack: Stack,
    name: str,
    component: Component,
    disruption: Disruption,
    *,
    pool: str | None = None,
    revision: str | None = None,
) -> Manifest:
    """Return how many of these pods may be evicted at once. A pod that is not ready serves nobody (KEP-3017)."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(stack, name, component, pool=pool, revision=revision),
        "spec": {
            "maxUnavailable": disruption.max_unavailable,
            "selector": {"matchLabels": selector(stack, component, pool=pool, revision=revision)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def grpc_port() -> Manifest:
    """Return the port of a Service in front of ASR servers; HTTP/2 without TLS (KEP-3726)."""
    return {
        "name": "grpc",
        "port": ASR_PORT,
        "targetPort": "grpc",
        "protocol": "TCP",
        "appProtocol": "kubernetes.io/h2c",
    }
