"""Settings of the license proxy; those the seed has bear its names (reference/assemblyai-protocol.md 13.2)."""

from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from streamstack_common.settings import ServiceSettings
from streamstack_license_proxy.api_key import ApiKeyError, checked
from streamstack_license_proxy.authority import endpoint_problem


def _names(name: str) -> AliasChoices:
    return AliasChoices(name, name.upper())


class LicenseProxySettings(ServiceSettings):
    """What the license proxy understands beside what every service does."""

    http_port: int = Field(
        8080,
        ge=0,
        le=65535,
        validation_alias=_names("http_port"),
        description="port to listen on; 0 lets the kernel choose",
    )
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - gateways on other nodes call it; everything but /health wants the credential
        min_length=1,
        validation_alias=_names("host"),
        description="address to listen on",
    )
    tls_certificate_file: Path | None = Field(
        None,
        validation_alias=_names("tls_certificate_file"),
        description="serve TLS with this PEM certificate chain",
    )
    tls_key_file: Path | None = Field(
        None, validation_alias=_names("tls_key_file"), description="the certificate's PEM private key"
    )
    tls_client_ca_file: Path | None = Field(
        None,
        validation_alias=_names("tls_client_ca_file"),
        description="PEM certificates; callers of anything but probes and /health need a certificate by one of them",
    )

    license_file_path: Path = Field(
        Path("/var/aai_license.jwt"),
        validation_alias=_names("license_file_path"),
        description="the license, a signed JWT; watched, so that it can be replaced without a restart",
    )
    license_extra_keys_file: Path | None = Field(
        None,
        validation_alias=_names("license_extra_keys_file"),
        description="JWKS with public keys to accept beside the vendor's; shown in /v1/status",
    )
    state_dir: Path | None = Field(
        None,
        validation_alias=_names("state_dir"),
        description="folder that outlives the container, one for each proxy: the usage journal and what is remembered "
        "of check-ins; /var/lib/streamstack where it exists and can be written",
    )

    license_authority_endpoint: str | None = Field(
        None,
        validation_alias=_names("license_authority_endpoint"),
        description="the license authority's base URL; the license names it (iss) when not given",
    )
    license_authority_ca_file: Path | None = Field(
        None,
        validation_alias=_names("license_authority_ca_file"),
        description="PEM certificates that the authority's is checked against; the system's when not given",
    )
    license_authority_certificate_file: Path | None = Field(
        None,
        validation_alias=_names("license_authority_certificate_file"),
        description="PEM certificate chain to present to the authority",
    )
    license_authority_key_file: Path | None = Field(
        None, validation_alias=_names("license_authority_key_file"), description="that certificate's PEM private key"
    )
    license_authority_insecure: bool = Field(
        False,
        validation_alias=_names("license_authority_insecure"),
        description="allow http:// to the authority beyond loopback: license and API key can be read on the way",
    )
    checkin_interval_seconds: float = Field(
        60,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        validation_alias=_names("checkin_interval_seconds"),
        description="pause between two good check-ins with the authority",
    )

    usage_tracking_api_key: SecretStr | None = Field(
        None,
        validation_alias=_names("usage_tracking_api_key"),
        description="the customer's key for billing by usage; a flag shows in the list of processes",
    )
    usage_tracking_api_key_file: Path | None = Field(
        None,
        validation_alias=_names("usage_tracking_api_key_file"),
        description="file with that key instead; watched",
    )
    usage_self_terminate_minutes: int | None = Field(
        None,
        ge=5,
        le=60,
        validation_alias=_names("usage_self_terminate_minutes"),
        description="end with status 75 when, billing by usage, the authority was away for so long; not given: never",
    )
    journal_retention_days: int = Field(
        30,
        ge=1,
        le=3650,
        validation_alias=_names("journal_retention_days"),
        description="how long the usage journal keeps what the authority has",
    )

    @field_validator("usage_tracking_api_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            return SecretStr(checked(value.get_secret_value()))
        except ApiKeyError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE go together: give both or none")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("TLS_CLIENT_CA_FILE: expected TLS_CERTIFICATE_FILE with it")
        if (self.license_authority_certificate_file is None) != (self.license_authority_key_file is None):
            raise ValueError(
                "LICENSE_AUTHORITY_CERTIFICATE_FILE and LICENSE_AUTHORITY_KEY_FILE go together: give both or none"
            )
        if self.usage_tracking_api_key is not None and self.usage_tracking_api_key_file is not None:
            raise ValueError("USAGE_TRACKING_API_KEY and USAGE_TRACKING_API_KEY_FILE: expected one of them")
        if self.license_authority_endpoint is not None:
            problem = endpoint_problem(self.license_authority_endpoint, insecure=self.license_authority_insecure)
            if problem is not None:
                raise ValueError(f"LICENSE_AUTHORITY_ENDPOINT: {problem}")
        return self
