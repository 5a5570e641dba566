"""Statements about licenses and the API keys that came with them."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from streamstack_common.license import License
from streamstack_license_authority.api_keys import ApiKey
from streamstack_license_authority.ledger.tables import api_keys, licenses


class OfflineLicenseError(Exception):
    """The license holds by signature and dates alone."""

    def __init__(self, license_id: str) -> None:
        super().__init__(
            f"license {license_id} is offline: no license proxy ever asks about it, so that it holds until it expires; "
            "expected a license that is checked in"
        )


@dataclass(frozen=True, slots=True)
class LicenseRow:
    """A license as the ledger has it; moments are milliseconds since 1970."""

    claims: License
    issued_at_ms: int
    revoked_at_ms: int | None
    revoke_reason: str | None
    last_checkin_ms: int | None
    last_instance_id: str | None


def add_license(connection: Connection, *, claims: License, api_key: ApiKey | None, now_ms: int) -> None:
    """Keep a new license, and the hash of its API key."""
    row = {
        "license_id": claims.license_id,
        "customer": claims.customer,
        "claims": claims.model_dump_json(by_alias=True),
        "issued_at_ms": now_ms,
    }
    connection.execute(insert(licenses).values(row))
    if api_key is not None:
        key = {"key_id": api_key.key_id, "secret_hash": api_key.secret_hash}
        owner = {"customer": claims.customer, "license_id": claims.license_id}
        connection.execute(insert(api_keys).values(key | owner))


def find_license(connection: Connection, license_id: str) -> LicenseRow | None:
    """Return a license, None where none has this id."""
    row = connection.execute(select(licenses).where(licenses.c.license_id == license_id)).one_or_none()
    if row is None:
        return None
    return LicenseRow(
        claims=License.model_validate_json(row.claims),
        issued_at_ms=row.issued_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        revoke_reason=row.revoke_reason,
        last_checkin_ms=row.last_checkin_ms,
        last_instance_id=row.last_instance_id,
    )


def revoke_license(connection: Connection, license_id: str, *, reason: str | None, now_ms: int) -> None:
    """Revoke a license; the first time is the one that is kept.

    Raises:
        OfflineLicenseError: revoking it would change nothing where it is used.

    """
    row = find_license(connection, license_id)
    if row is not None and row.claims.offline:
        raise OfflineLicenseError(license_id)
    connection.execute(
        update(licenses)
        .where(licenses.c.license_id == license_id, licenses.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms, revoke_reason=reason)
    )


def note_checkin(connection: Connection, license_id: str, *, instance_id: str, now_ms: int) -> None:
    """Keep when a license was last heard of, and by whom."""
    connection.execute(
        update(licenses)
        .where(licenses.c.license_id == license_id)
        .values(last_checkin_ms=now_ms, last_instance_id=instance_id)
    )


def customer_of(connection: Connection, api_key: ApiKey) -> str | None:
    """Return whose API key this is, None where it is nobody's."""
    query = select(api_keys.c.secret_hash, api_keys.c.customer).where(api_keys.c.key_id == api_key.key_id)
    row = connection.execute(query).one_or_none()
    if row is None or not api_key.matches(bytes(row.secret_hash)):
        return None
    customer: str = row.customer
    return customer
