from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, insert, inspect, select
from sqlalchemy.engine import make_url

from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.ledger.migrations import MIGRATIONS, SchemaError
from streamstack_license_authority.ledger.tables import metadata, schema_version


def test_the_steps_make_what_the_statements_name(database_url: str) -> None:
    database = Database(make_url(database_url))
    database.prepare()
    database.close()
    engine = create_engine(database_url)
    found = inspect(engine)
    assert set(found.get_table_names()) == set(metadata.tables)
    for name, table in metadata.tables.items():
        columns = {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(name)}
        expected = {
            column.name: (column.type.compile(engine.dialect), bool(column.nullable)) for column in table.columns
        }
        assert columns == expected
        assert found.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
    engine.dispose()


def test_authorities_that_start_at_once_make_one_ledger(database_url: str) -> None:
    databases = [Database(make_url(database_url)) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda database: database.prepare(), databases * 2))
    with databases[0].reading() as connection:
        versions = list(connection.execute(select(schema_version.c.version)).scalars())
    assert versions == list(range(1, len(MIGRATIONS) + 1))
    for database in databases:
        database.close()


def test_a_newer_ledger_is_left_alone(database_url: str) -> None:
    database = Database(make_url(database_url))
    database.prepare()
    with database.writing() as connection:
        connection.execute(insert(schema_version).values(version=len(MIGRATIONS) + 1))
    with pytest.raises(SchemaError, match="a newer version made it"):
        database.prepare()
    database.close()
