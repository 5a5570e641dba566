"""The ledger's tables, as statements name them; :mod:`.migrations` is what makes them.

Moments are milliseconds since 1970 by the authority's clock, but for ``started_at_ms``, which is the gateway's.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

licenses = Table(
    "licenses",
    metadata,
    Column("license_id", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    # The claims as JSON; the license itself is not kept.
    Column("claims", Text, nullable=False),
    Column("issued_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    Column("revoke_reason", Text),
    Column("last_checkin_ms", BigInteger),
    Column("last_instance_id", Text),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("customer", Text, nullable=False),
    Column("license_id", Text, nullable=False),
)

journals = Table(
    "journals",
    metadata,
    Column("journal_id", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    # Everything before this number is here; `head` is the hash of the record before it.
    Column("next_number", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("unreadable_records", BigInteger, nullable=False),
    Column("first_heard_ms", BigInteger, nullable=False),
    Column("heard_at_ms", BigInteger, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("journal_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    # Bytes, because text in PostgreSQL cannot hold everything that a record can.
    Column("body", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # None in a record that cannot be understood.
    Column("session_id", Text),
    Column("heard_at_ms", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("customer", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    # UTC day of the start, YYYY-MM-DD, within bounds around when it was heard of: what a bill is made by.
    Column("day", Text, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("audio_ms", BigInteger, nullable=False),
    Column("transcript_characters", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("tenant", Text),
    # Names joined by commas.
    Column("features", Text, nullable=False),
    Column("outcome", Text),
    # gateway, authority or None while open.
    Column("closed_by", Text),
    Column("closed_at_ms", BigInteger),
    Column("heard_at_ms", BigInteger, nullable=False),
)
