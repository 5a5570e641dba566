"""Everything of a stack that has no revision."""

from streamstack_operator.build import balancer, http_route, ingress, license, policy  # noqa: A004 - the license proxy
from streamstack_operator.build.meta import metadata
from streamstack_operator.facts import Manifest, Release, Stack


def fixed(stack: Stack, release: Release) -> tuple[Manifest, ...]:
    """Return these children in the order in which they are applied: what pods need, their policies, pods, the edge."""
    return (
        _service_account(stack),
        *policy.children(stack),
        *license.children(stack, release),
        *balancer.children(stack, release),
        *ingress.children(stack),
        *http_route.children(stack),
    )


def _service_account(stack: Stack) -> Manifest:
    about = metadata(stack, stack.name, None)
    if stack.spec.service_account.annotations:
        about["annotations"] = dict(sorted(stack.spec.service_account.annotations.items()))
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about, "automountServiceAccountToken": False}
