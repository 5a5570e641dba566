"""The gateway's settings: environment (the seeds' names where they have one) and flags."""

from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from streamstack_common.settings import ServiceSettings
from streamstack_gateway.license.peers import parse_peers
from streamstack_gateway.license.proxies import parse_endpoints


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class GatewaySettings(ServiceSettings):
    """Everything the gateway can be told. Ports: 0 lets the kernel choose."""

    host: str = Field("0.0.0.0", validation_alias=_names("host", "HOST"), description="address to listen on")  # noqa: S104  # a pod is reached from outside
    port: int = Field(
        8080, ge=0, le=65535, validation_alias=_names("port", "AAI_WSS_PORT"), description="WebSocket port"
    )
    internal_port: int = Field(
        8090,
        ge=0,
        le=65535,
        validation_alias=_names("internal_port", "INTERNAL_PORT"),
        description="internal HTTP port",
    )
    tls_certificate_file: str | None = Field(
        None,
        validation_alias=_names("tls_certificate_file", "SSL_CERT_PATH"),
        description="serve TLS with this PEM certificate chain",
    )
    tls_key_file: str | None = Field(
        None, validation_alias=_names("tls_key_file", "SSL_CERT_KEY"), description="the certificate's PEM private key"
    )

    token_key_file: str | None = Field(
        None,
        validation_alias=_names("token_key_file", "TOKEN_KEY_FILE"),
        description="key of temporary tokens (/v3/token), the same for all gateways; without it there are none",
    )

    asr_pools: str = Field(
        "",
        validation_alias=_names("asr_pools", "ASR_POOLS"),
        description="pools and their servers: name/model=host:port,host:port;name/model=...",
    )
    asr_endpoint: str | None = Field(
        None,
        validation_alias=_names("asr_endpoint", "AAI_ASR_ENDPOINT", "AAI_STREAMING_ASR_ENDPOINT"),
        description="host:port of a balancer that routes on x-model-version, instead of the pools' own servers",
    )
    asr_secure: bool = Field(
        False,
        validation_alias=_names("asr_secure", "AAI_USE_SECURE_CHANNEL_TO_ASR_SERVICE"),
        description="TLS to the speech-recognition servers",
    )
    asr_ca_file: str | None = Field(
        None,
        min_length=1,
        validation_alias=_names("asr_ca_file", "ASR_CA_FILE"),
        description="PEM certificates that those servers' are checked against; the gRPC's own set when not given",
    )
    model_aliases: str = Field(
        "",
        validation_alias=_names("model_aliases", "MODEL_ALIASES"),
        description="further names of models: alias=name,alias=name",
    )
    model_default: str = Field(
        "",
        validation_alias=_names("model_default", "MODEL_DEFAULT"),
        description="model of clients that name none; English, or the first pool's, when not given",
    )
    model_fallbacks: str = Field(
        "",
        validation_alias=_names("model_fallbacks", "MODEL_FALLBACKS"),
        description="which routing name answers where one has no pool: u3-pro=en-default,...",
    )

    license_endpoint: str = Field(
        "http://localhost:8082",
        validation_alias=_names("license_endpoint", "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT"),
        description="the license proxy, or several separated by commas: http(s)://host:port,...",
    )
    license_ca_file: Path | None = Field(
        None,
        validation_alias=_names("license_ca_file", "LICENSE_CA_FILE"),
        description="PEM certificates that an https proxy's is checked against; the system's own when not given",
    )
    license_client_certificate_file: Path | None = Field(
        None,
        validation_alias=_names("license_client_certificate_file", "LICENSE_CLIENT_CERTIFICATE_FILE"),
        description="PEM certificate chain shown to a proxy that asks for one",
    )
    license_client_key_file: Path | None = Field(
        None,
        validation_alias=_names("license_client_key_file", "LICENSE_CLIENT_KEY_FILE"),
        description="the PEM private key of that certificate",
    )
    gateway_peers: str = Field(
        "",
        validation_alias=_names("gateway_peers", "GATEWAY_PEERS"),
        description="host name whose addresses are all gateways of the stack, or several names and addresses separated "
        "by commas; they share the license's limit of sessions; this gateway alone when not given",
    )
    usage_interval_seconds: float = Field(
        10.0,
        ge=1,
        le=600,
        validation_alias=_names("usage_interval_seconds", "USAGE_INTERVAL_SECONDS"),
        description="how often a session reports its use where the license bills by it",
    )
    state_dir: str | None = Field(
        None,
        validation_alias=_names("state_dir", "STATE_DIR"),
        description="folder that survives a restart of the container; for the last license state and undelivered usage",
    )

    capacity: int | None = Field(
        None,
        ge=1,
        validation_alias=_names("capacity", "CAPACITY"),
        description="sessions that scaling aims at; 32, or max_sessions where that is less, when not given",
    )
    max_sessions: int | None = Field(
        None,
        ge=1,
        validation_alias=_names("max_sessions", "MAX_SESSIONS"),
        description="sessions at which new ones are refused; 4 x capacity when not given",
    )
    max_connections: int = Field(
        16_000,
        ge=1,
        validation_alias=_names("max_connections", "MAX_CONNECTIONS"),
        description="open sockets, those without a session included, at which new ones are closed",
    )
    buffer_megabytes: int = Field(
        768,
        ge=1,
        validation_alias=_names("buffer_megabytes", "BUFFER_MEGABYTES"),
        description="budget of all audio buffers; admission closes at 70 %",
    )
    max_session_seconds: int = Field(
        10_800,
        ge=1,
        validation_alias=_names("max_session_seconds", "MAX_SESSION_SECONDS"),
        description="limit of a session",
    )
    asr_wait_seconds: float = Field(
        600,
        gt=0,
        validation_alias=_names("asr_wait_seconds", "ASR_WAIT_SECONDS"),
        description="how long a session that has begun may be without a server",
    )
    stop_grace_seconds: float | None = Field(
        None,
        ge=0,
        validation_alias=_names("stop_grace_seconds", "STOP_GRACE_SECONDS"),
        description="how long live sessions may go on after SIGTERM; the longest session and a minute when not given",
    )
    revision: str = Field(
        "", validation_alias=_names("revision", "REVISION"), description="the pod template's revision"
    )

    @field_validator("license_endpoint")
    @classmethod
    def _endpoints(cls, value: str) -> str:
        parse_endpoints(value)
        return value

    @field_validator("gateway_peers")
    @classmethod
    def _peers(cls, value: str) -> str:
        parse_peers(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("SSL_CERT_PATH and SSL_CERT_KEY go together: give both or none")
        if (self.license_client_certificate_file is None) != (self.license_client_key_file is None):
            raise ValueError(
                "LICENSE_CLIENT_CERTIFICATE_FILE and LICENSE_CLIENT_KEY_FILE go together: give both or none"
            )
        if (self.license_ca_file or self.license_client_key_file) and not self.is_license_secure:
            raise ValueError("LICENSE_CA_FILE, LICENSE_CLIENT_CERTIFICATE_FILE: expected a license proxy of https://")
        if self.asr_ca_file is not None and not self.asr_secure:
            raise ValueError("ASR_CA_FILE: expected AAI_USE_SECURE_CHANNEL_TO_ASR_SERVICE to be true with it")
        if not self.asr_pools and self.asr_endpoint is None:
            raise ValueError(
                "ASR_POOLS: expected at least one pool, such as english/en-default=asr:50051, or AAI_ASR_ENDPOINT"
            )
        if self.max_sessions is not None and self.capacity is not None and self.max_sessions < self.capacity:
            raise ValueError(f"MAX_SESSIONS ({self.max_sessions}) is below CAPACITY ({self.capacity})")
        return self

    @property
    def pools(self) -> str:
        """``asr_pools``; behind a balancer alone, the two models of the seeds' Universal stack."""
        return self.asr_pools or "english/en-default;multilingual/ml-default"

    @property
    def is_license_secure(self) -> bool:
        """Whether any license proxy is reached over TLS."""
        return any(endpoint.startswith("https:") for endpoint in parse_endpoints(self.license_endpoint))

    @property
    def session_capacity(self) -> int:
        """Sessions that scaling aims at (DESIGN 4 "Capacity, twice")."""
        if self.capacity is not None:
            return self.capacity
        return 32 if self.max_sessions is None else min(32, self.max_sessions)

    @property
    def session_limit(self) -> int:
        """Sessions at which new ones are refused."""
        return self.max_sessions if self.max_sessions is not None else 4 * self.session_capacity

    @property
    def grace_seconds(self) -> float:
        """How long live sessions may go on after SIGTERM."""
        return self.max_session_seconds + 60 if self.stop_grace_seconds is None else self.stop_grace_seconds
