"""The spec of a StreamingStack."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import Image, Name, Part, Strings, rule, with_rules
from streamstack_operator.model.gateway import Gateway
from streamstack_operator.model.ingress import HttpRoute, Ingress
from streamstack_operator.model.license import License
from streamstack_operator.model.pool import KNOWN_MODELS, MODELS_BY_POOL, Pool
from streamstack_operator.model.workload import Placement, Resources, resources


class Balancer(StrEnum):
    """Who picks the ASR pod of a session."""

    GATEWAY = "Gateway"
    """The gateway, by the free slots that pods report."""
    NGINX = "Nginx"
    """An nginx that routes on X-Model-Version, as the original stack does."""


class Nginx(Part):
    """The balancer's pods, with `balancer: Nginx`."""

    replicas: int = Field(2, ge=1, le=100, description="pods")
    resources: Resources = Field(
        default_factory=lambda: resources(cpu="500m", memory="256Mi"),
        description="requests and limits of the container",
    )
    resolver: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:\[\]-]+$")] = Field(
        "kube-dns.kube-system.svc",
        description="the cluster's DNS: an address, or a Service's name that is looked up at start",
    )
    placement: Placement = Field(default_factory=Placement, description="where pods may run")


class Drain(Part):
    """How sessions are let go."""

    on_delete: bool = Field(
        False, description="a deleted stack lets its sessions finish first (by a finalizer: the operator has to run)"
    )
    margin_seconds: int = Field(
        300, ge=60, le=86_400, description="what a draining pod or revision gets beyond the longest session"
    )
    max_draining_revisions: int = Field(
        2, ge=1, le=10, description="old revisions that may drain at once before a new one has to wait"
    )


class PullPolicy(StrEnum):
    """When a kubelet pulls an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Images(Part):
    """Images in place of the operator's own."""

    gateway: Image | None = Field(None, description="gateway")
    license_proxy: Image | None = Field(None, description="license proxy")
    balancer: Image | None = Field(None, description="nginx balancer")
    asr_sphinx: Image | None = Field(None, description="ASR with the engine Sphinx, and Scripted and LoadTest")
    asr_nemotron: Image | None = Field(None, description="ASR with the engine Nemotron")
    pull_policy: PullPolicy = Field(PullPolicy.IF_NOT_PRESENT, description="when kubelets pull")
    pull_secrets: Annotated[list[Name], Field(max_length=8)] = Field(
        default_factory=list, description="Secrets with the registries' credentials (imagePullSecrets)"
    )


class ServiceAccount(Part):
    """The service account of the stack's pods; none of them talks to the API server."""

    annotations: Strings = Field(default_factory=dict, description="annotations, such as a cloud's workload identity")


class LogLevel(StrEnum):
    """What the pieces log; what was said is logged at no level."""

    DEBUG = "Debug"
    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"


class Logging(Part):
    """How the pieces log."""

    level: LogLevel = Field(LogLevel.INFO, description="the least that is logged")
    structured: bool = Field(True, description="one JSON object a line")


class Credential(Part):
    """The bearer token of internal calls, which the operator makes and rotates."""

    rotate_after_seconds: int = Field(
        2_592_000, ge=3600, le=315_360_000, description="age at which a new token takes over, with overlap"
    )


class NetworkPolicies(Part):
    """Who may reach the pods; needs a network that enforces NetworkPolicies."""

    enabled: bool = Field(True, description="make NetworkPolicies")
    clients: Annotated[list[Strings], Field(max_length=8)] = Field(
        default_factory=list,
        description="labels of namespaces that may reach the gateways' client port, one set each; every one when empty",
    )
    monitoring: Annotated[list[Strings], Field(max_length=8)] = Field(
        default_factory=list, description="labels of namespaces that may scrape metrics, with the credential"
    )


POOL_MODEL = f"(has(p.model) ? p.model : p.name in {MODELS_BY_POOL} ? {MODELS_BY_POOL}[p.name] : p.name)"
"""CEL: the routing name of the pool ``p`` (``Pool.routing_name``)."""


def routed(model: str) -> str:
    """Return CEL for the routing name that a model's name leads to in the gateways."""
    return f"({model} in {KNOWN_MODELS} ? {KNOWN_MODELS}[{model}] : {model})"


def known(model: str) -> str:
    """Return CEL for whether gateways know a model: by themselves, or by a pool."""
    return f"({model} in {list(KNOWN_MODELS)} || self.pools.exists(p, has(p.model) && p.model == {model}))"


class StreamingStackSpec(Part):
    """What a stack is to be. Only `license.secretName` and one pool have to be given."""

    model_config = with_rules(
        rule("self.pools.all(p, self.pools.exists_one(q, q.name == p.name))", "pool names must differ", field=".pools"),
        rule(
            f"self.pools.all(q, self.pools.exists_one(p, {POOL_MODEL} == {POOL_MODEL.replace('p.', 'q.')}))",
            "models of pools must differ: of two pools with one model the gateways would know one",
            field=".pools",
        ),
        rule(
            f"self.gateway.modelAliases.all(a, {known('self.gateway.modelAliases[a]')})",
            "expected every alias to name a model that a pool or the gateways themselves know",
            field=".gateway.modelAliases",
        ),
        rule(
            f"self.gateway.modelFallbacks.all(f, (f == '*' || {known('f')}) && "
            f"(self.gateway.modelFallbacks[f] == 'default' || {known('self.gateway.modelFallbacks[f]')}))",
            "expected every fallback to lead from a model that is known, or *, to one that is known, or default",
            field=".gateway.modelFallbacks",
        ),
        rule(
            f"!has(self.gateway.modelDefault) || self.pools.exists(p, {routed(POOL_MODEL)} == "
            f"{routed('self.gateway.modelDefault')})",
            "expected the default to be the model of a pool",
            field=".gateway.modelDefault",
        ),
    )

    license: License = Field(description="the license, and the proxy that checks it")
    gateway: Gateway = Field(default_factory=Gateway, description="the WebSocket gateways")
    pools: Annotated[list[Pool], Field(min_length=1, max_length=16)] = Field(
        description="ASR pods by model",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    balancer: Balancer = Field(Balancer.GATEWAY, description="who picks the ASR pod of a session")
    nginx: Nginx = Field(default_factory=Nginx, description="the balancer's pods, with `balancer: Nginx`")
    ingress: Ingress | None = Field(None, description="an Ingress to the gateways; none when not given")
    http_route: HttpRoute | None = Field(None, description="an HTTPRoute of the Gateway API to the gateways")
    max_session_seconds: int = Field(10_800, ge=1, le=86_400, description="the longest session")
    asr_wait_seconds: int = Field(
        600, ge=1, le=86_400, description="how long a session that has begun may be without speech recognition"
    )
    drain: Drain = Field(default_factory=Drain, description="how sessions are let go")
    credential: Credential = Field(default_factory=Credential, description="the bearer token of internal calls")
    images: Images = Field(default_factory=Images, description="images in place of the operator's own")
    service_account: ServiceAccount = Field(default_factory=ServiceAccount, description="the pods' service account")
    network_policies: NetworkPolicies = Field(default_factory=NetworkPolicies, description="who may reach the pods")
    logging: Logging = Field(default_factory=Logging, description="how the pieces log")
    cluster_domain: Name = Field("cluster.local", description="the cluster's DNS domain")
