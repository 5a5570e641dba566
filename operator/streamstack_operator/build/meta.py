"""What every child carries: name, labels, owner; and what children are selected and found by."""

from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.names import (
    API_VERSION,
    KIND,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_TRAFFIC,
    MANAGED_BY,
    PRODUCT,
    TRAFFIC_ON,
    Component,
)


def selector(
    stack: Stack, component: Component, *, pool: str | None = None, revision: str | None = None
) -> dict[str, str]:
    """Return the labels that pick these pods of the stack, and no others."""
    picked = {LABEL_NAME: PRODUCT, LABEL_INSTANCE: stack.name, LABEL_COMPONENT: str(component)}
    if pool is not None:
        picked[LABEL_POOL] = pool
    if revision is not None:
        picked[LABEL_REVISION] = revision
    return picked


def in_traffic(
    stack: Stack, component: Component, *, pool: str | None = None, revision: str | None = None
) -> dict[str, str]:
    """Return a Service's selector: these pods as long as new sessions go to them (DESIGN 4, "Templates")."""
    return selector(stack, component, pool=pool, revision=revision) | {LABEL_TRAFFIC: TRAFFIC_ON}


def labels(
    stack: Stack, component: Component | None, *, pool: str | None = None, revision: str | None = None
) -> dict[str, str]:
    """Return the labels of a child or of its pods. Without a component: what belongs to the stack as a whole."""
    if component is None:
        picked = {LABEL_NAME: PRODUCT, LABEL_INSTANCE: stack.name}
    else:
        picked = selector(stack, component, pool=pool, revision=revision)
    return picked | {LABEL_MANAGED_BY: MANAGED_BY}


def metadata(
    stack: Stack,
    name: str,
    component: Component | None,
    *,
    pool: str | None = None,
    revision: str | None = None,
) -> Manifest:
    """Return a child's metadata, the caller's to add annotations to.

    The owner does not block on its children (no ``blockOwnerDeletion``): a Background deletion never waits for them,
    and setting it would ask for a permission on the stack's finalizers (OwnerReferencesPermissionEnforcement).
    """
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": stack.name, "uid": stack.uid, "controller": True}
    return {
        "name": name,
        "namespace": stack.namespace,
        "labels": labels(stack, component, pool=pool, revision=revision),
        "ownerReferences": [owner],
    }


def host(stack: Stack, service: str) -> str:
    """Return a Service's full name in the cluster's DNS: found without search domains, so in one question."""
    return f"{service}.{stack.namespace}.svc.{stack.spec.cluster_domain}"
