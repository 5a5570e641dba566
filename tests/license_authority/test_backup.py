"""What the document says of backups, done."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import URL

from streamstack_license_authority.ledger.database import Database
from support.authority_process import authority_process
from support.usage_journal import UsageJournal, report

DOCUMENT = Path(__file__).parents[2] / "docs/license-authority.md"


def tables(file: Path) -> set[str]:
    """Names of the tables in a copy of this file alone."""
    copy = file.with_name("copy.sqlite3")
    shutil.copy(file, copy)
    connection = sqlite3.connect(copy)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()
        copy.unlink()


def test_a_closed_ledger_is_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    database = Database(URL.create("sqlite", database=str(file)))
    database.prepare()
    # Somebody looks on, so that closing alone would not move anything.
    onlooker = sqlite3.connect(file)
    try:
        with database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE later (n INTEGER)")
        assert onlooker.execute("SELECT count(*) FROM later").fetchone() == (0,)
        assert "later" not in tables(file)
        database.close()
        assert {"later", "licenses", "sessions"} <= tables(file)
    finally:
        onlooker.close()


async def test_a_copy_made_as_documented_while_it_runs_has_everything(tmp_path: Path) -> None:
    (line,) = [line for line in DOCUMENT.read_text().splitlines() if "VACUUM INTO" in line and "python -c" in line]
    script = line.partition("python -c '")[2].rpartition("'")[0]
    restored = tmp_path / "restored"
    (restored / "authority").mkdir(parents=True)
    async with authority_process(tmp_path) as authority:
        issued, journal = await authority.issue(), UsageJournal.of([report(audio_ms=77)])
        assert (await authority.post(journal.path, journal.upload(), token=issued.api_key))[0] == 200
        state = tmp_path / "authority"
        script = script.replace("/var/lib/streamstack", str(state))
        subprocess.run([sys.executable, "-c", script], check=True)
        for name, copy in [("signing-key.pem", "signing-key.pem"), ("backup.sqlite3", "ledger.sqlite3")]:
            shutil.copy(state / name, restored / "authority" / copy)
    async with authority_process(restored) as again:
        assert {name: row["audio_ms"] for name, row in (await again.sessions()).items()} == {"session-1": 77}
        assert (await again.get(f"/v1/licenses/{issued.license_id}"))[0] == 200
