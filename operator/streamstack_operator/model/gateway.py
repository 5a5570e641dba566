"""The gateway's part of a StreamingStack."""

from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import Key, Name, Part, rule, with_rules
from streamstack_operator.model.workload import Autoscaling, Disruption, EnvVars, Placement, Resources, resources

ModelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9*][A-Za-z0-9._-]*$")]


class GatewayLimits(Part):
    """Where one gateway pod refuses more."""

    max_sessions: int | None = Field(
        None, ge=1, le=100_000, description="sessions at which a pod refuses new ones; 4 x capacity when not given"
    )
    max_connections: int = Field(16_000, ge=1, le=100_000, description="open sockets of a pod")
    buffer_megabytes: int = Field(
        768, ge=1, le=1_000_000, description="budget of a pod's audio buffers, MiB; admission closes at 70 %"
    )


class GatewayAuth(Part):
    """How clients are admitted beside `Authorization: self-hosted`."""

    temporary_tokens: bool = Field(True, description="serve GET /v3/token: tokens for browsers and the like")


class GatewayTls(Part):
    """TLS in the gateway itself; the ingress has its own under `ingress.tls`."""

    secret_name: Name = Field(description="Secret of type kubernetes.io/tls in the stack's namespace")


class Gateway(Part):
    """The WebSocket gateways: what clients connect to."""

    model_config = with_rules(
        rule(
            "!has(self.limits.maxSessions) || self.limits.maxSessions >= self.capacity",
            "limits.maxSessions must not be below capacity",
            field=".limits.maxSessions",
        ),
        rule(
            "self.limits.maxConnections >= self.capacity",
            "limits.maxConnections must not be below capacity",
            field=".limits.maxConnections",
        ),
        rule(
            "!('memory' in self.resources.limits) || quantity(string(self.resources.limits['memory']))"
            ".asApproximateFloat() > double(self.limits.bufferMegabytes) * 1048576.0",
            "limits.bufferMegabytes must be below the memory limit: a pod that fills its buffers would be killed",
            field=".limits.bufferMegabytes",
        ),
    )

    replicas: int = Field(2, ge=1, le=1000, description="pods of the active revision")
    capacity: int = Field(32, ge=1, le=10_000, description="sessions a pod is meant to carry: what scaling aims at")
    resources: Resources = Field(
        default_factory=lambda: resources(cpu="1", memory="2Gi"), description="requests and limits of the container"
    )
    limits: GatewayLimits = Field(default_factory=GatewayLimits, description="where a pod refuses more")
    model_aliases: Annotated[dict[ModelName, ModelName], Field(max_length=64)] = Field(
        default_factory=dict, description="further names of models: what clients ask for, and which model that is"
    )
    model_default: ModelName | None = Field(
        None, description="model of clients that name none; English, or the first pool's, when not given"
    )
    model_fallbacks: Annotated[dict[ModelName, ModelName], Field(max_length=64)] = Field(
        default_factory=dict, description="which model answers where one has no pool"
    )
    auth: GatewayAuth = Field(default_factory=GatewayAuth, description="how clients are admitted")
    tls: GatewayTls | None = Field(None, description="TLS in the gateway itself")
    env: EnvVars = Field(default_factory=list, description="further environment variables; those the operator sets win")
    annotations: Annotated[dict[Key, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict, description="further annotations of the pods"
    )
    placement: Placement = Field(default_factory=Placement, description="where pods may run")
    autoscaling: Autoscaling | None = Field(None, description="bounds of scaling on live sessions")
    disruption: Disruption = Field(
        default_factory=lambda: Disruption(max_unavailable=0),
        description="how many pods may be evicted at once; 0 by default, since a busy gateway is nobody's to evict",
    )
