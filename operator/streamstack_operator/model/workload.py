"""Parts that gateways, pools and the license proxy have in common: what a pod may use and where it may run."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import (
    DataKey,
    Key,
    Label,
    LabelValue,
    Name,
    Part,
    Quantity,
    Strings,
    Text,
    rule,
    with_rules,
)


class Resources(Part):
    """Requests and limits of one container, as Kubernetes has them."""

    model_config = with_rules(
        rule(
            "self.requests.all(r, !(r in self.limits) || "
            "quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)",
            "requests must not be above limits",
            field=".requests",
        )
    )

    requests: Annotated[dict[Key, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="what the scheduler sets aside, by resource: cpu, memory, ephemeral-storage"
    )
    limits: Annotated[dict[Key, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="what the container may use at most, by resource"
    )


def resources(*, cpu: str, memory: str) -> Resources:
    """Return requests of both and a limit of memory alone: a CPU limit stalls live audio."""
    return Resources(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory})


class TolerationOperator(StrEnum):
    """How a toleration's value is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Part):
    """A taint of nodes that these pods may run on all the same, as Kubernetes has it."""

    model_config = with_rules(
        rule("self.operator != 'Exists' || !has(self.value)", "value must be left out with Exists", field=".value"),
        rule("has(self.key) || self.operator == 'Exists'", "key is required with Equal", field=".key"),
        rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds needs the effect NoExecute",
            field=".tolerationSeconds",
        ),
    )

    key: Key | None = Field(None, description="the taint's key; without one every key (operator Exists)")
    operator: TolerationOperator = Field(TolerationOperator.EQUAL, description="Exists or Equal")
    value: LabelValue | None = Field(None, description="the taint's value, with Equal")
    effect: TaintEffect | None = Field(None, description="the taint's effect; without one every effect")
    toleration_seconds: int | None = Field(None, ge=0, description="how long a pod stays, with NoExecute")


class WhenUnsatisfiable(StrEnum):
    """What the scheduler does where pods cannot be spread so."""

    SCHEDULE_ANYWAY = "ScheduleAnyway"
    DO_NOT_SCHEDULE = "DoNotSchedule"


class TopologySpread(Part):
    """One topology spread constraint; its selector is the revision's own."""

    topology_key: Key = Field("kubernetes.io/hostname", description="label of nodes that names the place")
    max_skew: int = Field(1, ge=1, le=100, description="how many more pods one place may have than another")
    when_unsatisfiable: WhenUnsatisfiable = Field(
        WhenUnsatisfiable.SCHEDULE_ANYWAY, description="what to do where pods cannot be spread so"
    )


class SecretKey(Part):
    """One key of a Secret in the stack's namespace."""

    name: Name = Field(description="the Secret")
    key: DataKey = Field(description="the key in it")


class EnvVar(Part):
    """An environment variable of a container: a value, or a Secret's key."""

    model_config = with_rules(
        rule("has(self.value) != has(self.secretKeyRef)", "expected exactly one of value and secretKeyRef")
    )

    name: Annotated[str, Field(min_length=1, max_length=128, pattern="^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="the variable"
    )
    value: Text | None = Field(None, description="its value")
    secret_key_ref: SecretKey | None = Field(None, description="where its value is read from when the container starts")


EnvVars = Annotated[
    list[EnvVar],
    Field(
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]


class Autoscaling(Part):
    """Bounds of scaling on live sessions. Not acted on by this version: replicas stay as `replicas` says."""

    model_config = with_rules(
        rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas", field=".minReplicas")
    )

    min_replicas: int = Field(1, ge=1, le=1000, description="never fewer pods than this")
    max_replicas: int = Field(10, ge=1, le=1000, description="never more pods than this")
    target_percent: int = Field(75, ge=1, le=100, description="sessions a pod is to have, in percent of its capacity")


class Disruption(Part):
    """How many pods of a revision may be evicted at once (a PodDisruptionBudget); 0 lets none be evicted."""

    max_unavailable: int = Field(ge=0, le=1000, description="pods that may be missing at once by eviction")


class Placement(Part):
    """Where pods may run."""

    node_selector: Annotated[dict[Key, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="labels that nodes must have"
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list, description="taints of nodes that are no obstacle"
    )
    priority_class_name: Name | None = Field(None, description="PriorityClass of the pods")
    topology_spread: Annotated[list[TopologySpread], Field(max_length=8)] = Field(
        default_factory=lambda: [TopologySpread()], description="how pods are spread over nodes and zones"
    )


__all__ = [
    "Autoscaling",
    "Disruption",
    "EnvVar",
    "EnvVars",
    "Label",
    "Placement",
    "Resources",
    "SecretKey",
    "Strings",
    "TaintEffect",
    "Toleration",
    "TolerationOperator",
    "TopologySpread",
    "WhenUnsatisfiable",
    "resources",
]
