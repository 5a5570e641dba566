"""A pool of a StreamingStack: ASR pods that serve one model."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from streamstack_operator.model.base import DNS_LABEL, Key, Name, Part, Quantity, rule, with_rules
from streamstack_operator.model.workload import Autoscaling, Disruption, EnvVar, Placement, Resources, resources
from streamstack_operator.names import POOL_NAME_MAX


class Engine(StrEnum):
    """What does the recognition; Scripted and LoadTest are for tests of a stack, not for speech."""

    NEMOTRON = "Nemotron"
    SPHINX = "Sphinx"
    SCRIPTED = "Scripted"
    LOAD_TEST = "LoadTest"


MODELS_BY_POOL: Final = {"english": "en-default", "multilingual": "ml-default", "pro": "u3-pro"}
"""Routing names of the seeds' models, by the names that their pools have in DESIGN 1."""

DEFAULT_SLOTS: Final = {Engine.NEMOTRON: 28, Engine.SPHINX: 20, Engine.SCRIPTED: 32, Engine.LOAD_TEST: 32}
"""28 sessions a universal ASR container (reference/assemblyai-protocol.md 13.6); PocketSphinx carries five a core."""

PRO_SLOTS: Final = 40
"""Sessions a pro container carries on an L40S (reference/assemblyai-protocol.md 13.6)."""


class Gpu(Part):
    """The GPUs of one pod, as an extended resource."""

    resource_name: Key = Field("nvidia.com/gpu", description="extended resource that a device plugin advertises")
    count: int = Field(1, ge=0, le=16, description="how many a pod takes; 0 for none")


class ModelVolume(Part):
    """Where the model's files are: a claim, mounted read-only."""

    claim_name: Name = Field(description="PersistentVolumeClaim in the stack's namespace")
    mount_path: Annotated[str, Field(min_length=2, max_length=512, pattern="^/[^:]*$")] = Field(
        "/models", description="where it is mounted; the engine is told by MODEL_DIR"
    )
    sub_path: Annotated[str, Field(max_length=512, pattern=r"^[^/].*$")] | None = Field(
        None, description="folder in the volume"
    )


class Pool(Part):
    """ASR pods that serve one model."""

    model_config = with_rules(
        rule(
            "has(self.model) || self.name in ['english', 'multilingual', 'pro']",
            "model is required for a pool that is not named english, multilingual or pro",
            field=".model",
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=POOL_NAME_MAX, pattern=DNS_LABEL)] = Field(
        description="the pool's name, in names of its children and in metrics"
    )
    engine: Engine = Field(Engine.NEMOTRON, description="what does the recognition")
    model: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        None,
        description="routing name (x-model-version) the pods serve; en-default, ml-default or u3-pro for pools named "
        "english, multilingual or pro",
    )
    replicas: int = Field(1, ge=1, le=1000, description="pods of the active revision")
    slots: int | None = Field(
        None, ge=1, le=10_000, description="sessions a pod serves at once; by engine and model when not given"
    )
    resources: Resources = Field(
        default_factory=lambda: resources(cpu="4", memory="16Gi"), description="requests and limits of the container"
    )
    shared_memory: Quantity = Field("64Mi", description="size of the pod's /tmp, which is memory")
    gpu: Gpu | None = Field(None, description="GPUs of a pod; one nvidia.com/gpu with Nemotron when not given")
    runtime_class_name: Name | None = Field(None, description="RuntimeClass of the pods")
    placement: Placement = Field(default_factory=Placement, description="where pods may run")
    model_volume: ModelVolume | None = Field(None, description="where the model's files are")
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(
        default_factory=list, description="further environment variables; those the operator sets win"
    )
    annotations: Annotated[dict[Key, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict, description="further annotations of the pods"
    )
    stop_grace_seconds: int = Field(
        60, ge=0, le=86_400, description="how long sessions may take to move away from a pod that is asked to stop"
    )
    autoscaling: Autoscaling | None = Field(None, description="bounds of scaling on live sessions")
    disruption: Disruption = Field(
        default_factory=lambda: Disruption(max_unavailable=1), description="how many pods may be evicted at once"
    )

    @property
    def routing_name(self) -> str:
        """The model the pods serve; ``checks`` has made sure that there is one."""
        return self.model or MODELS_BY_POOL[self.name]

    @property
    def slot_count(self) -> int:
        """Sessions a pod serves at once."""
        if self.slots is not None:
            return self.slots
        if self.engine is Engine.NEMOTRON and self.routing_name == MODELS_BY_POOL["pro"]:
            return PRO_SLOTS
        return DEFAULT_SLOTS[self.engine]

    @property
    def gpus(self) -> Gpu:
        """The GPUs of a pod, those of the engine's default included."""
        return self.gpu or Gpu(count=1 if self.engine is Engine.NEMOTRON else 0)
