"""A pool: a Deployment and a disruption budget a revision, and the Service that gateways find its pods by."""

from streamstack_operator import names
from streamstack_operator.build import workload
from streamstack_operator.build.meta import in_traffic, metadata
from streamstack_operator.build.rendering import Rendered, renderer, revision_of
from streamstack_operator.build.workload import grpc_port
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.pool import Pool
from streamstack_operator.model.status import Rendering
from streamstack_operator.names import Component


def render(stack: Stack, pool: Pool, rendering: Rendering) -> Rendered:
    """Return the revision that the spec asks for, as ``rendering`` makes it. Raises UnknownRendererError."""
    make = renderer(rendering).asr
    revision = revision_of(lambda name: make(stack, pool, rendering.image, name), rendering)
    deployment = workload.deployment(
        stack,
        names.pool(stack.name, pool.name, revision),
        Component.ASR,
        make(stack, pool, rendering.image, revision),
        pool=pool.name,
        revision=revision,
    )
    return Rendered(revision, deployment, rendering)


def service(stack: Stack, pool: Pool, revision: str) -> Manifest:
    """Return the pool's headless Service: gateways look every pod up and choose among them."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, names.pool(stack.name, pool.name), Component.ASR, pool=pool.name),
        "spec": {
            "clusterIP": "None",
            "selector": in_traffic(stack, Component.ASR, pool=pool.name, revision=revision),
            "ports": [grpc_port()],
        },
    }


def budget(stack: Stack, pool: Pool, revision: str) -> Manifest:
    """Return the disruption budget of a revision."""
    name = names.pool(stack.name, pool.name, revision)
    return workload.budget(stack, name, Component.ASR, pool.disruption, pool=pool.name, revision=revision)
