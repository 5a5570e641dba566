"""Settings of the license proxy; the names are the seed's (reference/assemblyai-protocol.md 13.2)."""

from pathlib import Path

from pydantic import AliasChoices, Field

from streamstack_common.settings import ServiceSettings


class LicenseProxySettings(ServiceSettings):
    """What the license proxy understands beside what every service does."""

    http_port: int = Field(
        8080,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("http_port", "HTTP_PORT"),
        description="port to listen on; 0 lets the kernel choose",
    )
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - gateways on other nodes call it; everything but /health wants the credential
        min_length=1,
        validation_alias=AliasChoices("host", "HOST"),
        description="address to listen on",
    )
    license_file_path: Path = Field(
        Path("/var/aai_license.jwt"),
        validation_alias=AliasChoices("license_file_path", "LICENSE_FILE_PATH"),
        description="the license, a signed JWT; watched, so that it can be replaced without a restart",
    )
    license_extra_keys_file: Path | None = Field(
        None,
        validation_alias=AliasChoices("license_extra_keys_file", "LICENSE_EXTRA_KEYS_FILE"),
        description="JWKS with public keys to accept beside the vendor's; shown in /v1/status",
    )
