"""NetworkPolicies: only the edge is reachable from outside, and audio leaves for speech recognition alone (DESIGN 3).

Every pod of a stack is in exactly one of them, and those that fetch their model in another one that lets them out for
that. The balancer's health port is nobody's here: its node's kubelet reaches a pod whatever the policies say.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from streamstack_operator import names
from streamstack_operator.build.meta import metadata, selector
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.archive import ModelArchive
from streamstack_operator.model.pool import Pool
from streamstack_operator.model.spec import Balancer
from streamstack_operator.names import ASR_PORT, LABEL_NAME, LICENSE_PORT, MANAGED_BY, Component

LOCAL_DNS: Final = "169.254.20.10/32"
"""Where NodeLocal DNSCache listens on every node, unless told otherwise."""


def children(stack: Stack) -> tuple[Manifest, ...]:
    """Return the policies, if there are to be any."""
    if not stack.spec.network_policies.enabled:
        return ()
    balanced = stack.spec.balancer is Balancer.NGINX
    return (
        _gateway(stack),
        _asr(stack),
        *(
            _archive(stack, pool, pool.model_archive)
            for pool in stack.spec.pools
            if pool.model_archive is not None and pool.model_archive.addresses
        ),
        _license(stack),
        *([_balancer(stack)] if balanced else []),
    )


def _gateway(stack: Stack) -> Manifest:
    clients = [_namespace(labels) for labels in stack.spec.network_policies.clients]
    return _policy(
        stack,
        names.gateway(stack.name),
        Component.GATEWAY,
        ingress=[_allow("from", clients, "ws"), _allow("from", _overseers(stack), "internal")],
        egress=[
            _allow("to", _either(stack, Component.ASR, Component.BALANCER), ASR_PORT),
            _allow("to", [_pods(stack, Component.LICENSE)], LICENSE_PORT),
            _dns(),
        ],
    )


def _asr(stack: Stack) -> Manifest:
    """Audio and words come from gateways and go back to them: nothing else in, nothing else out."""
    callers = _either(stack, Component.GATEWAY, Component.BALANCER)
    return _policy(
        stack,
        f"{stack.name}-asr",
        Component.ASR,
        ingress=[_allow("from", callers, "grpc"), _allow("from", _overseers(stack), "internal")],
        egress=[],
    )


def _archive(stack: Stack, pool: Pool, archive: ModelArchive) -> Manifest:
    """Let a pool's pods out to where the spec says that their model is, and to nowhere else.

    It lies beside the policy of all servers; what either allows is allowed. It carries no pool's label, so that it goes
    with the archive, and does not stay for as long as the pool has pods.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(stack, names.archive(stack.name, pool.name), Component.ASR),
        "spec": {
            "podSelector": {"matchLabels": selector(stack, Component.ASR, pool=pool.name)},
            "policyTypes": ["Egress"],
            "egress": [
                _allow("to", [{"ipBlock": {"cidr": block}} for block in archive.addresses], archive.port),
                _dns(),
            ],
        },
    }


def _license(stack: Stack) -> Manifest:
    """Out it may go: the license authority is outside of the cluster."""
    callers = [_pods(stack, Component.GATEWAY), *_overseers(stack)]
    return _policy(stack, names.license_proxy(stack.name), Component.LICENSE, ingress=[_allow("from", callers, "http")])


def _balancer(stack: Stack) -> Manifest:
    return _policy(
        stack,
        names.balancer(stack.name),
        Component.BALANCER,
        ingress=[_allow("from", [_pods(stack, Component.GATEWAY)], "grpc")],
        egress=[_allow("to", [_pods(stack, Component.ASR)], ASR_PORT), _dns()],
    )


def _policy(
    stack: Stack,
    name: str,
    component: Component,
    *,
    ingress: list[Manifest],
    egress: list[Manifest] | None = None,
) -> Manifest:
    """What is not in ``ingress`` does not get in; what is not in ``egress`` does not get out, None lets everything.

    An empty list is left out: the API server keeps none, and would take it for a change at every apply.
    """
    spec: Manifest = {
        "podSelector": {"matchLabels": selector(stack, component)},
        "policyTypes": ["Ingress"] if egress is None else ["Ingress", "Egress"],
        "ingress": ingress,
    }
    if egress:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(stack, name, component),
        "spec": spec,
    }


def _allow(way: str, peers: Iterable[Manifest], port: int | str) -> Manifest:
    """Allow a port from (or to) these peers; from everybody when there are none."""
    rule: Manifest = {"ports": [{"port": port, "protocol": "TCP"}]}
    found = list(peers)
    return {way: found, **rule} if found else rule


def _dns() -> Manifest:
    """Allow questions to the cluster's DNS: its pods, and the cache on the node."""
    servers = [_namespace({"kubernetes.io/metadata.name": "kube-system"}), {"ipBlock": {"cidr": LOCAL_DNS}}]
    return {"to": servers, "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def _overseers(stack: Stack) -> list[Manifest]:
    """Who reads sessions, license states and metrics: the operator, in whichever namespace it runs, and monitoring."""
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": {LABEL_NAME: MANAGED_BY}}}
    return [operator, *(_namespace(labels) for labels in stack.spec.network_policies.monitoring)]


def _pods(stack: Stack, component: Component) -> Manifest:
    return {"podSelector": {"matchLabels": selector(stack, component)}}


def _either(stack: Stack, *components: Component) -> list[Manifest]:
    """Return both ways to speech recognition: while a balancer comes or goes, revisions of gateways use one each."""
    return [_pods(stack, component) for component in components]


def _namespace(labels: Mapping[str, str]) -> Manifest:
    return {"namespaceSelector": {"matchLabels": dict(sorted(labels.items()))}}
