"""Settings of the operator."""

from pathlib import Path

from pydantic import AliasChoices, Field

from streamstack_common.settings import ServiceSettings


class OperatorSettings(ServiceSettings):
    """What the operator understands beside what every service does."""

    host: str = Field(
        "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus call it; everything but the probes wants the credential
        min_length=1,
        validation_alias=AliasChoices("host", "HOST"),
        description="address of the internal port",
    )
    internal_port: int = Field(
        8090,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("internal_port", "INTERNAL_PORT"),
        description="port for probes and metrics; 0 lets the kernel choose",
    )
    kubeconfig: Path | None = Field(
        None,
        validation_alias=AliasChoices("kubeconfig", "KUBECONFIG"),
        description="how to reach the API server; in a pod its service account is used unless this is given",
    )
    api_check_seconds: float = Field(
        10.0,
        ge=0.1,
        le=300,
        allow_inf_nan=False,
        validation_alias=AliasChoices("api_check_seconds", "API_CHECK_SECONDS"),
        description="how often the API server is asked whether it answers",
    )
