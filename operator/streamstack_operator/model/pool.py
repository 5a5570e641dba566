"""A pool of a StreamingStack: ASR pods that serve one model."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from streamstack_operator.model.archive import ModelArchive
from streamstack_operator.model.base import (
    DNS_LABEL,
    EXTENDED_RESOURCE,
    Key,
    Name,
    Part,
    Quantity,
    rule,
    with_rules,
)
from streamstack_operator.model.workload import Autoscaling, Disruption, EnvVars, Placement, Resources, resources
from streamstack_operator.names import POOL_NAME_MAX


class Engine(StrEnum):
    """What does the recognition; Scripted and LoadTest are for tests of a stack, not for speech."""

    NEMOTRON = "Nemotron"
    SPHINX = "Sphinx"
    SCRIPTED = "Scripted"
    LOAD_TEST = "LoadTest"


class Precision(StrEnum):
    """What Nemotron computes in."""

    AUTO = "Auto"
    """By device: what it is fast in."""
    BF16 = "Bf16"
    FP16 = "Fp16"
    FP32 = "Fp32"
    """Reproducible: the same audio gives the same words whatever it is batched with."""


LicenseId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
ChunkMs = Literal[80, 160, 320, 560, 1120]
"""Steps of cache-aware models, (lookahead + 1) frames of 80 ms (reference/asr-engines.md)."""

MODELS_BY_POOL: Final = {"english": "en-default", "multilingual": "ml-default", "pro": "u3-pro"}
"""Routing names of the seeds' models, by the names that their pools have in DESIGN 1."""

KNOWN_MODELS: Final = {
    "universal-streaming-english": "en-default",
    "universal-streaming-multilingual": "ml-default",
    "universal-3-5-pro": "u3-pro",
    "universal-3-6": "u3-pro",
    "universal-3-6-pro": "u3-pro",
    "u3-rt-pro": "u3-pro",
    "u3-rt-pro-beta-1": "u3-pro",
    "u3-rt-agent": "u3-pro",
    "u3-pro": "u3-pro",
    "universal-3-7-preview": "u3-pro",
    "whisper-rt": "whisper-rt",
    "en-default": "en-default",
    "ml-default": "ml-default",
}
"""Names that gateways know without being told, and the routing names they lead to: those of
``streamstack_gateway.models``, which is in another image; a test holds them together."""

DEFAULT_SLOTS: Final = {Engine.NEMOTRON: 28, Engine.SPHINX: 20, Engine.SCRIPTED: 32, Engine.LOAD_TEST: 32}
"""28 sessions a universal ASR container (reference/assemblyai-protocol.md 13.6); PocketSphinx carries five a core."""

PRO_SLOTS: Final = 40
"""Sessions a pro container carries on an L40S (reference/assemblyai-protocol.md 13.6)."""


class Gpu(Part):
    """The GPUs of one pod, as an extended resource."""

    resource_name: Annotated[str, Field(min_length=1, max_length=317, pattern=EXTENDED_RESOURCE)] = Field(
        "nvidia.com/gpu", description="extended resource that a device plugin advertises"
    )
    count: int = Field(1, ge=0, le=16, description="how many a pod takes; 0 for none")


TAKEN_FOLDERS: Final = "^/(tmp|dev/shm|run/streamstack)/?$"
TAKEN_FOLDER: Final = "expected another folder than /tmp, /dev/shm and /run/streamstack, which the pods have themselves"


class ModelVolume(Part):
    """Where the model's files are: a claim, mounted read-only."""

    model_config = with_rules(
        rule(
            f"!self.mountPath.matches('{TAKEN_FOLDERS}')",
            TAKEN_FOLDER,
            field=".mountPath",
        ),
        rule(
            "!has(self.subPath) || !self.subPath.split('/').exists(part, part == '..')",
            "subPath must not contain '..'",
            field=".subPath",
        ),
    )

    claim_name: Name = Field(description="PersistentVolumeClaim in the stack's namespace")
    mount_path: Annotated[str, Field(min_length=2, max_length=512, pattern="^/[^:]*$")] = Field(
        "/models", description="where it is mounted; the engine is told by MODEL_DIR"
    )
    sub_path: Annotated[str, Field(max_length=512, pattern=r"^[^/].*$")] | None = Field(
        None, description="folder in the volume"
    )


NEMOTRONS_OWN: Final = ("modelArchive", "modelLicense", "chunkMs", "precision")
"""Fields that say something to Nemotron alone."""

OTHER_ENGINE: Final = f"{', '.join(NEMOTRONS_OWN)} are the engine Nemotron's: expected none of them with another"
TWO_MODELS: Final = "expected modelVolume or modelArchive, not both"


class Pool(Part):
    """ASR pods that serve one model."""

    model_config = with_rules(
        rule(
            "has(self.model) || self.name in ['english', 'multilingual', 'pro']",
            "model is required for a pool that is not named english, multilingual or pro",
            field=".model",
        ),
        rule("self.name != 'lb'", "lb is the balancer's name: expected another", field=".name"),
        rule(
            f"self.engine == 'Nemotron' || !({' || '.join(f'has(self.{name})' for name in NEMOTRONS_OWN)})",
            OTHER_ENGINE,
            field=".engine",
        ),
        rule("!has(self.modelVolume) || !has(self.modelArchive)", TWO_MODELS, field=".modelArchive"),
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
        None,
        ge=1,
        le=10_000,
        description="sessions a pod serves at once, as `streamstack calibrate` found for its GPUs; by engine and model "
        "when not given",
    )
    resources: Resources = Field(
        default_factory=lambda: resources(cpu="4", memory="16Gi"), description="requests and limits of the container"
    )
    shared_memory: Quantity = Field(
        "64Mi", description="size of the pod's /dev/shm, and of its /tmp: both are memory, and count as the container's"
    )
    gpu: Gpu | None = Field(None, description="GPUs of a pod; one nvidia.com/gpu with Nemotron when not given")
    runtime_class_name: Name | None = Field(None, description="RuntimeClass of the pods")
    placement: Placement = Field(default_factory=Placement, description="where pods may run")
    model_volume: ModelVolume | None = Field(
        None, description="where the model's files are; without it or modelArchive, Nemotron's image has to hold them"
    )
    model_archive: ModelArchive | None = Field(
        None, description="where Nemotron's pods fetch the model's files from, in place of modelVolume"
    )
    model_license: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")] | None
    ) = Field(None, description="the license of Nemotron's model that you accept, by its identifier")
    chunk_ms: ChunkMs | None = Field(
        None,
        description="milliseconds of audio that Nemotron takes a step: less answers sooner, more serves more sessions "
        "and hears better; the model's default when not given",
    )
    precision: Precision | None = Field(None, description="what Nemotron computes in; Auto when not given")
    env: EnvVars = Field(default_factory=list, description="further environment variables; those the operator sets win")
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
