"""Settings of the license authority."""

import ipaddress
from pathlib import Path
from typing import Final, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from streamstack_common.settings import ServiceSettings

DRIVERS: Final = ("sqlite", "postgresql+psycopg")


class LicenseAuthoritySettings(ServiceSettings):
    """What the license authority understands beside what every service does; its credential is the administrators'."""

    port: int = Field(
        8080,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("port", "PORT"),
        description="port to listen on; 0 lets the kernel choose",
    )
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - customers call it; everything but probes and public keys wants a secret
        min_length=1,
        validation_alias=AliasChoices("host", "HOST"),
        description="address to listen on",
    )
    tls_certificate_file: Path | None = Field(
        None,
        validation_alias=AliasChoices("tls_certificate_file", "TLS_CERTIFICATE_FILE"),
        description="certificate chain, PEM; with it, only TLS is spoken",
    )
    tls_key_file: Path | None = Field(
        None,
        validation_alias=AliasChoices("tls_key_file", "TLS_KEY_FILE"),
        description="the certificate's private key, PEM",
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s]{1,240}$",
        validation_alias=AliasChoices("public_url", "PUBLIC_URL"),
        description="base URL by which customers reach this authority; licenses name it",
    )
    state_dir: Path = Field(
        Path("/var/lib/streamstack"),
        validation_alias=AliasChoices("state_dir", "STATE_DIR"),
        description="folder of the ledger and the signing key, where nothing else is said of them",
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        description="the ledger: sqlite:///FILE or postgresql+psycopg://...; a SQLite file in STATE_DIR by default",
    )
    signing_key_file: Path | None = Field(
        None,
        validation_alias=AliasChoices("signing_key_file", "SIGNING_KEY_FILE"),
        description="private key, PEM, Ed25519 or RSA; made where absent; STATE_DIR/signing-key.pem by default",
    )
    signing_key_id: str | None = Field(
        None,
        pattern=r"^[!-~]{1,128}$",
        validation_alias=AliasChoices("signing_key_id", "SIGNING_KEY_ID"),
        description="the signing key's kid; by default it follows from the key (RFC 7638)",
    )
    former_signing_key_files: str = Field(
        "",
        validation_alias=AliasChoices("former_signing_key_files", "FORMER_SIGNING_KEY_FILES"),
        description="keys that signed licenses still in use, comma-separated: FILE, or KID=FILE",
    )
    orphan_after_seconds: int = Field(
        21_600,
        ge=1,
        le=366 * 86_400,
        validation_alias=AliasChoices("orphan_after_seconds", "ORPHAN_AFTER_SECONDS"),
        description="a session without an end, of which nothing was heard for so long, is closed",
    )

    @field_validator("database_url", mode="after")
    @classmethod
    def _can_be_spoken_to(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            # Without the cause: its message repeats the URL, password and all.
            raise ValueError("expected a database URL") from None
        except ValueError:
            raise ValueError("expected a number for the port") from None
        if url.port is not None and not 0 < url.port < 2**16:
            raise ValueError(f"port {url.port}: expected 1 to 65535")
        if url.drivername not in DRIVERS:
            raise ValueError(f"speaks {url.drivername}; expected {' or '.join(DRIVERS)}")
        if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
            raise ValueError("names no file; expected sqlite:///FILE")
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE: expected both or neither")
        if self.public_url is None and not _is_loopback(self.host):
            raise ValueError("PUBLIC_URL: expected the URL that customers use, as licenses name it")
        return self

    @property
    def database(self) -> URL:
        """Where the ledger is."""
        if self.database_url is None:
            return URL.create("sqlite", database=str(self.state_dir / "ledger.sqlite3"))
        return make_url(self.database_url.get_secret_value())

    @property
    def signing_key(self) -> Path:
        """The file of the key that signs."""
        return self.signing_key_file or self.state_dir / "signing-key.pem"

    @property
    def former_signing_keys(self) -> tuple[tuple[str | None, Path], ...]:
        """Names, where they are given, and files of the keys that signed before."""
        entries = [entry.strip() for entry in self.former_signing_key_files.split(",") if entry.strip()]
        pairs = [entry.rpartition("=") for entry in entries]
        return tuple((kid or None, Path(file)) for kid, _, file in pairs)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
