"""PostgreSQL that answers and takes nothing, as a primary that was replaced does."""

import functools
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from streamstack_license_authority.ledger.database import Database, ReadOnlyError
from support.authority_process import AuthorityProcess, authority_process
from support.postgresql import PostgresqlServer
from support.usage_journal import UsageJournal, report
from support.waiting import eventually


def become(server: PostgresqlServer, database: str, *, read_only: bool, disconnect: bool) -> None:
    """From now on new connections may write, or may not; whether those that are there are ended."""
    setting = "SET default_transaction_read_only = on" if read_only else "RESET default_transaction_read_only"
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} " + setting).format(sql.Identifier(database)))
        if disconnect:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


def test_connections_that_began_read_only_are_given_up(postgresql: PostgresqlServer) -> None:
    url = make_url(postgresql.database_url())
    assert url.database is not None
    database = Database(url)
    database.prepare()
    try:
        become(postgresql, url.database, read_only=True, disconnect=True)
        with pytest.raises(ReadOnlyError):
            database.probe()
        become(postgresql, url.database, read_only=False, disconnect=False)
        database.probe()
    finally:
        database.close()


async def is_ready(authority: AuthorityProcess) -> bool:
    return (await authority.get("/readyz", token=None))[0] == 200


async def has_looked_for_orphans(authority: AuthorityProcess) -> bool:
    return "orphans are looked for later: it is read-only" in authority.log


async def test_a_database_gone_read_only_is_trouble_that_passes(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    url = postgresql.database_url()
    name = make_url(url).database
    assert name is not None
    async with authority_process(tmp_path, DATABASE_URL=url, ORPHAN_AFTER_SECONDS="1") as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report()])
        become(postgresql, name, read_only=True, disconnect=True)

        status, body = await authority.post(journal.path, journal.upload(), token=issued.api_key)
        assert (status, list(body)) == (503, ["error"])
        assert await authority.get("/readyz", token=None) == (503, {"error": "the ledger does not answer"})
        assert await authority.get("/healthz", token=None) == (200, "ok\n")
        ask = {"license": issued.license, "nonce": "n" * 22, "instance_id": "proxy"}
        assert (await authority.post("/v1/checkins", ask, token=issued.api_key))[0] == 200
        assert f"check-in of license {issued.license_id} is not noted: it is read-only" in authority.log
        await eventually(functools.partial(has_looked_for_orphans, authority))

        become(postgresql, name, read_only=False, disconnect=False)
        await eventually(functools.partial(is_ready, authority))
        assert (await authority.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200
        assert list(await authority.sessions()) == ["session-1"]
        assert await authority.stop() == 0
        assert "Traceback" not in authority.log
