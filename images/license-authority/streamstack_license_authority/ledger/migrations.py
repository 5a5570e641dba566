"""The ledger's schema, one step after another: a step that was ever released is never changed, only followed."""

from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text

from streamstack_license_authority.ledger.tables import schema_version

_LOCK: Final = 0x53545245414D
"""Names the lock that only one of several starting authorities holds; any number that nothing else uses."""

# {bytes} is what the database calls a string of bytes.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE licenses (
            license_id TEXT NOT NULL PRIMARY KEY,
            customer TEXT NOT NULL,
            claims TEXT NOT NULL,
            issued_at_ms BIGINT NOT NULL,
            revoked_at_ms BIGINT,
            revoke_reason TEXT,
            last_checkin_ms BIGINT,
            last_instance_id TEXT
        )""",
        """CREATE TABLE api_keys (
            key_id TEXT NOT NULL PRIMARY KEY,
            secret_hash {bytes} NOT NULL,
            customer TEXT NOT NULL,
            license_id TEXT NOT NULL REFERENCES licenses (license_id)
        )""",
        """CREATE TABLE journals (
            journal_id TEXT NOT NULL PRIMARY KEY,
            customer TEXT NOT NULL,
            next_number BIGINT NOT NULL CHECK (next_number >= 1),
            head {bytes} NOT NULL,
            unreadable_records BIGINT NOT NULL,
            first_heard_ms BIGINT NOT NULL,
            heard_at_ms BIGINT NOT NULL
        )""",
        """CREATE TABLE records (
            journal_id TEXT NOT NULL REFERENCES journals (journal_id),
            number BIGINT NOT NULL CHECK (number >= 1),
            body {bytes} NOT NULL,
            hash {bytes} NOT NULL,
            session_id TEXT,
            heard_at_ms BIGINT NOT NULL,
            PRIMARY KEY (journal_id, number)
        )""",
        "CREATE INDEX records_of_session ON records (session_id, journal_id)",
        """CREATE TABLE sessions (
            customer TEXT NOT NULL,
            session_id TEXT NOT NULL,
            day TEXT NOT NULL,
            started_at_ms BIGINT NOT NULL,
            audio_ms BIGINT NOT NULL CHECK (audio_ms >= 0),
            transcript_characters BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            model TEXT NOT NULL,
            tenant TEXT,
            features TEXT NOT NULL,
            outcome TEXT,
            closed_by TEXT CHECK (closed_by IN ('gateway', 'authority')),
            closed_at_ms BIGINT,
            heard_at_ms BIGINT NOT NULL,
            PRIMARY KEY (customer, session_id)
        )""",
        "CREATE INDEX sessions_of_day ON sessions (day, customer)",
        "CREATE INDEX sessions_open ON sessions (heard_at_ms) WHERE closed_by IS NULL",
    ),
)


class SchemaError(ValueError):
    """The ledger is none that this version of the authority can work with."""


def migrate(connection: Connection) -> None:
    """Bring the ledger to the newest schema, in one transaction that writes.

    Raises:
        SchemaError: a newer authority has made it.

    """
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = _version(connection)
    if found > len(MIGRATIONS):
        raise SchemaError(f"the ledger has schema {found}; expected at most {len(MIGRATIONS)}: a newer version made it")
    if found == 0:
        connection.execute(text("CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY)"))
    for version, statements in enumerate(MIGRATIONS[found:], start=found + 1):
        for statement in statements:
            connection.exec_driver_sql(statement.format(bytes="BYTEA" if postgresql else "BLOB"))
        connection.execute(insert(schema_version).values(version=version))


def _version(connection: Connection) -> int:
    """Return how many steps were taken, 0 without a ledger."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return max(connection.execute(select(schema_version.c.version)).scalars(), default=0)
