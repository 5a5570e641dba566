"""Settings of the ASR server; the environment names without a prefix are those of AssemblyAI's own ASR images."""

from typing import Self

from pydantic import AliasChoices, Field, model_validator

from streamstack_asr.engines.options import EngineOptions
from streamstack_common.settings import ServiceSettings


class AsrSettings(ServiceSettings):
    """What can be set; every field is a flag and an environment variable."""

    host: str = Field(
        "0.0.0.0",  # noqa: S104 - a pod is reached on its own address, and every call needs the stack's credential
        min_length=1,
        validation_alias=AliasChoices("host", "HOST"),
        description="address to listen on",
    )
    server_port: int = Field(
        50051,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("server_port", "SERVER_PORT"),
        description="gRPC port; 0 lets the kernel choose",
    )
    internal_port: int = Field(
        8090,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("internal_port", "INTERNAL_PORT"),
        description="port of metrics, probes, /sessions, /retire and /resume; 0 lets the kernel choose",
    )
    server_tls_cert_file: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("server_tls_cert_file", "SERVER_TLS_CERT_FILE"),
        description="serve gRPC over TLS with this PEM certificate chain",
    )
    server_tls_key_file: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("server_tls_key_file", "SERVER_TLS_KEY_FILE"),
        description="the certificate's PEM private key",
    )
    max_open_streams: int = Field(
        32,
        ge=1,
        validation_alias=AliasChoices("max_open_streams", "MAX_OPEN_STREAMS"),
        description="slots: sessions served at once, on all links together",
    )
    calibration_file: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("calibration_file", "CALIBRATION_FILE"),
        description="file of `streamstack calibrate`: as many slots as it says, where MAX_OPEN_STREAMS is not given",
    )
    engine: str = Field(
        "sphinx",
        validation_alias=AliasChoices("engine", "ENGINE"),
        description="sphinx, nemotron, scripted or null",
    )
    engine_workers: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("engine_workers", "ENGINE_WORKERS"),
        description="processes an engine decodes in; 0 lets the engine choose (one per core, or per GPU)",
    )
    models: str = Field(
        "en-default",
        validation_alias=AliasChoices("models", "MODELS"),
        pattern=r"^\s*[^\s,]+\s*(,\s*[^\s,]+\s*)*$",
        description="routing names served, separated by commas",
    )
    model_dir: str = Field(
        "",
        validation_alias=AliasChoices("model_dir", "MODEL_DIR"),
        description="engine nemotron: folder of the model, or its name in the store (owner/model[@revision])",
    )
    model_archive: str = Field(
        "",
        validation_alias=AliasChoices("model_archive", "MODEL_ARCHIVE"),
        description="engine nemotron: URL of an archive of the model, fetched once into the store",
    )
    model_archive_sha256: str = Field(
        "",
        validation_alias=AliasChoices("model_archive_sha256", "MODEL_ARCHIVE_SHA256"),
        description="SHA-256 that the archive of the model must have",
    )
    model_license_accepted: str = Field(
        "",
        validation_alias=AliasChoices("model_license_accepted", "MODEL_LICENSE_ACCEPTED"),
        description="identifiers of model licenses that are accepted, separated by commas",
    )
    model_store: str = Field(
        "",
        validation_alias=AliasChoices("model_store", "MODEL_STORE"),
        description="folder that keeps models; pods of a node may share it (/var/lib/streamstack/models)",
    )
    model_offline: bool = Field(
        False,
        validation_alias=AliasChoices("model_offline", "MODEL_OFFLINE"),
        description="never fetch a model from a network",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda)$",
        validation_alias=AliasChoices("device", "DEVICE"),
        description="engine nemotron: auto (a GPU where there is one), cpu or cuda",
    )
    precision: str = Field(
        "auto",
        pattern=r"^(auto|bf16|fp16|fp32)$",
        validation_alias=AliasChoices("precision", "PRECISION"),
        description="engine nemotron: auto (what suits the device), bf16, fp16, or fp32, which is reproducible",
    )
    chunk_ms: str = Field(
        "",
        pattern=r"^\s*$|^[^,]+(,[^,]+)*$",
        validation_alias=AliasChoices("chunk_ms", "CHUNK_MS"),
        description="engine nemotron: step in ms, 560, or one for each routing name: en-default=560,en-fast=160",
    )
    stop_grace_seconds: float = Field(
        60.0,
        ge=0,
        validation_alias=AliasChoices("stop_grace_seconds", "STOP_GRACE_SECONDS"),
        description="how long sessions may take to move away after SIGTERM",
    )
    revision: str = Field(
        "",
        validation_alias=AliasChoices("revision", "REVISION"),
        description="the revision this pod belongs to, shown in /sessions",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.server_tls_cert_file is None) != (self.server_tls_key_file is None):
            raise ValueError("SERVER_TLS_CERT_FILE and SERVER_TLS_KEY_FILE go together: give both or none")
        return self

    @property
    def routing_names(self) -> tuple[str, ...]:
        """``models`` as names, each once, in order."""
        return tuple(dict.fromkeys(name.strip() for name in self.models.split(",")))

    @property
    def engine_options(self) -> EngineOptions:
        """What the engine is told."""
        return EngineOptions(
            models=self.routing_names,
            workers=self.engine_workers,
            slots=self.max_open_streams,
            model_dir=self.model_dir,
            model_archive=self.model_archive,
            model_archive_sha256=self.model_archive_sha256,
            model_license_accepted=self.model_license_accepted,
            model_store=self.model_store,
            model_offline=self.model_offline,
            device=self.device,
            precision=self.precision,
            chunk_ms=self.chunk_ms,
        )
