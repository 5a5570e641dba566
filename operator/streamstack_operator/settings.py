"""Settings of the operator."""

import re
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from streamstack_common.settings import ServiceSettings

IMAGE_TAG: Final = "0.1.0"
"""Tag of the images this operator was made with."""

NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


def _image(name: str) -> str:
    return f"streamstack/{name}:{IMAGE_TAG}"


def _version() -> str:
    """Return the version of the distribution; an image, which installs none, sets STREAMSTACK_VERSION."""
    try:
        return version("streamstack")
    except PackageNotFoundError:
        return IMAGE_TAG


class OperatorSettings(ServiceSettings):
    """What the operator understands beside what every service does."""

    host: str = Field(
        "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus call it; everything but the probes wants the credential
        min_length=1,
        validation_alias=_names("host", "HOST"),
        description="address of the internal port",
    )
    internal_port: int = Field(
        8090,
        ge=0,
        le=65535,
        validation_alias=_names("internal_port", "INTERNAL_PORT"),
        description="port for probes and metrics; 0 lets the kernel choose",
    )
    kubeconfig: Path | None = Field(
        None,
        validation_alias=_names("kubeconfig", "KUBECONFIG"),
        description="how to reach the API server; in a pod its service account is used unless this is given",
    )
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias=_names("namespaces", "NAMESPACES"),
        description="namespaces to look after, separated by commas; all when empty",
    )
    api_check_seconds: float = Field(
        10.0,
        ge=0.1,
        le=300,
        allow_inf_nan=False,
        validation_alias=_names("api_check_seconds", "API_CHECK_SECONDS"),
        description="how often the API server is asked whether it answers",
    )
    crd_check_seconds: float = Field(
        300.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        validation_alias=_names("crd_check_seconds", "CRD_CHECK_SECONDS"),
        description="how often the served CRD is looked at; while it is missing or old, every five seconds",
    )
    relist_seconds: float = Field(
        600.0,
        ge=1,
        le=86400,
        allow_inf_nan=False,
        validation_alias=_names("relist_seconds", "RELIST_SECONDS"),
        description="how often everything is listed anew, whatever the watches say",
    )
    watchdog_seconds: float = Field(
        300.0,
        ge=1,
        le=86400,
        allow_inf_nan=False,
        validation_alias=_names("watchdog_seconds", "WATCHDOG_SECONDS"),
        description="after how long without the end of a pass that is due the operator asks to be restarted",
    )
    workers: int = Field(
        8, ge=1, le=256, validation_alias=_names("workers", "WORKERS"), description="stacks looked at at once"
    )

    leader_elect: bool | None = Field(
        None,
        validation_alias=_names("leader_elect", "LEADER_ELECT"),
        description="work only while holding a Lease; by default in a pod, which POD_NAMESPACE tells",
    )
    lease_name: str = Field(
        "streamstack-operator",
        min_length=1,
        max_length=253,
        validation_alias=_names("lease_name", "LEASE_NAME"),
        description="the Lease, in POD_NAMESPACE",
    )
    lease_seconds: int = Field(
        15,
        ge=1,
        le=300,
        validation_alias=_names("lease_seconds", "LEASE_SECONDS"),
        description="how long a Lease that nobody renews holds others back",
    )
    pod_namespace: str | None = Field(
        None, validation_alias=_names("pod_namespace", "POD_NAMESPACE"), description="namespace of the Lease"
    )
    pod_name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        validation_alias=_names("pod_name", "POD_NAME"),
        description="how the Lease names its holder; the host's name unless given",
    )

    image_gateway: str = Field(
        _image("gateway"), min_length=1, validation_alias=_names("image_gateway", "IMAGE_GATEWAY"), description="image"
    )
    image_license_proxy: str = Field(
        _image("license-proxy"),
        min_length=1,
        validation_alias=_names("image_license_proxy", "IMAGE_LICENSE_PROXY"),
        description="image",
    )
    image_asr_lb: str = Field(
        _image("asr-lb"), min_length=1, validation_alias=_names("image_asr_lb", "IMAGE_ASR_LB"), description="image"
    )
    image_asr_sphinx: str = Field(
        _image("asr-sphinx"),
        min_length=1,
        validation_alias=_names("image_asr_sphinx", "IMAGE_ASR_SPHINX"),
        description="image",
    )
    image_asr_nemotron: str = Field(
        _image("asr-nemotron"),
        min_length=1,
        validation_alias=_names("image_asr_nemotron", "IMAGE_ASR_NEMOTRON"),
        description="image",
    )
    version: str = Field(
        default_factory=_version,
        min_length=1,
        validation_alias=_names("version", "STREAMSTACK_VERSION"),
        description="what stacks say of the operator that looks after them",
    )

    @field_validator("namespaces", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        wrong = [name for name in names if not NAMESPACE.fullmatch(name)]
        if wrong:
            raise ValueError(f"expected names of namespaces separated by commas, got {', '.join(wrong)}")
        return names

    @model_validator(mode="after")
    def _has_a_place_for_its_lease(self) -> Self:
        if self.leader_elect and self.pod_namespace is None:
            raise ValueError("LEADER_ELECT needs POD_NAMESPACE: the namespace of its Lease")
        return self

    @property
    def elects(self) -> bool:
        """Whether a Lease is needed to work."""
        return self.pod_namespace is not None if self.leader_elect is None else self.leader_elect

    @property
    def images(self) -> dict[str, str]:
        """Images by name, as :class:`~.facts.Release` has them."""
        return {
            "gateway": self.image_gateway,
            "license-proxy": self.image_license_proxy,
            "asr-lb": self.image_asr_lb,
            "asr-sphinx": self.image_asr_sphinx,
            "asr-nemotron": self.image_asr_nemotron,
        }
