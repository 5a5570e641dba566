"""``streamstack usage import`` with a real license authority, and files as a proxy without a network writes them."""

import gzip
import json
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_cli import exit_codes
from streamstack_common.usage import chain_start, chained
from streamstack_common.usage_export import RECEIPT_AUDIENCE, Receipt, journal_id_of, write_export
from support.authority_process import AuthorityProcess, authority_process
from support.cli import Ran, streamstack
from support.usage_journal import report

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorityProcess]:
    async with authority_process(tmp_path_factory.mktemp("authority")) as running:
        yield running


@dataclass
class Journal:
    """What a proxy without a network has: ``count`` sessions of 1, 2, 3... milliseconds, under its license."""

    license: str
    count: int = 9
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.id = journal_id_of(self.key.public_key())
        numbers = range(1, self.count + 1)
        self.bodies = [report(f"{self.id}-{n}", audio_ms=n).model_dump_json() for n in numbers]
        self.hashes = [chain_start(self.id)]
        for number, body in zip(numbers, self.bodies, strict=True):
            self.hashes.append(chained(self.hashes[-1], number, body))

    def export(self, path: Path, first: int, last: int) -> Path:
        """Write records ``first`` to ``last`` into a file."""
        lines = write_export(
            key=self.key,
            license=self.license,
            first=first,
            after=self.hashes[first - 1],
            bodies=self.bodies[first - 1 : last],
            exported_at=datetime.now(UTC),
        )
        path.write_bytes(gzip.compress(b"".join(lines)))
        return path


@pytest_asyncio.fixture(loop_scope="module")
async def journal(authority: AuthorityProcess) -> Journal:
    return Journal((await authority.issue(customer="airgap", offline=True)).license)


async def take(authority: AuthorityProcess, *files: Path) -> Ran:
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    return await streamstack("usage", "import", *files, *place)


async def billed(authority: AuthorityProcess, journal: Journal) -> int:
    """Milliseconds of the journal's sessions in the ledger."""
    sessions = await authority.sessions("airgap")
    return sum(row["audio_ms"] for name, row in sessions.items() if name.startswith(journal.id))


def told(receipt: Path) -> Receipt:
    claims = jwt.decode(receipt.read_text().strip(), options={"verify_signature": False}, audience=RECEIPT_AUDIENCE)
    return Receipt.model_validate_json(json.dumps(claims))


async def test_files_are_taken_in_the_order_of_their_records_whatever_their_names(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    files = [
        journal.export(tmp_path / name, first, last) for name, first, last in (("a", 7, 9), ("b", 1, 3), ("c", 4, 6))
    ]
    ran = await take(authority, *files)
    assert (ran.status, ran.err) == (exit_codes.OK, "")
    lines = [line for line in ran.out.splitlines() if "accepted" in line]
    assert [line.partition(":")[0] for line in lines] == [str(tmp_path / name) for name in ("b", "c", "a")]
    assert f"records 7 to 9 of journal {journal.id}, customer airgap: 3 accepted, 0 known already" in lines[-1]
    assert await billed(authority, journal) == sum(range(1, 10))


async def test_billed_once_a_file_that_is_imported_again_or_overlaps_another(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    first, both = journal.export(tmp_path / "first", 1, 5), journal.export(tmp_path / "both", 3, 9)
    await take(authority, first)
    again = await take(authority, first, both)
    assert again.status == exit_codes.OK
    assert "0 accepted, 5 known already" in again.out
    assert "4 accepted, 3 known already; all before record 10 are in the ledger" in again.out
    assert await billed(authority, journal) == sum(range(1, 10))


async def test_the_receipt_says_what_is_in_the_ledger_and_is_beside_its_file(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    file = journal.export(tmp_path / "usage.jsonl.gz", 1, 4)
    await take(authority, file)
    receipt = tmp_path / "usage.jsonl.gz.receipt"
    assert (told(receipt).journal_id, told(receipt).through) == (journal.id, 4)
    assert stat.S_IMODE(receipt.stat().st_mode) == 0o600
    await take(authority, journal.export(tmp_path / "rest", 5, 9))
    await take(authority, file)
    assert told(receipt).through == 9


async def test_what_is_missing_is_named_and_the_rest_is_taken(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    other = Journal(journal.license)
    files = (
        journal.export(tmp_path / "1", 1, 2),
        journal.export(tmp_path / "2", 6, 9),
        other.export(tmp_path / "3", 1, 9),
    )
    ran = await take(authority, *files)
    assert ran.status == exit_codes.MISSING
    assert f"records 3 to 5 of journal {journal.id} are missing" in ran.err
    assert "which --after 2 exports" in ran.err
    assert not (tmp_path / "2.receipt").exists()
    assert (await billed(authority, journal), await billed(authority, other)) == (3, sum(range(1, 10)))
    ran = await take(authority, journal.export(tmp_path / "4", 3, 5), files[1])
    assert ran.status == exit_codes.OK
    assert await billed(authority, journal) == sum(range(1, 10))


async def test_a_journal_that_went_two_ways_is_told_from_a_gap(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    await take(authority, journal.export(tmp_path / "one", 1, 3))
    journal.bodies[1] = report(f"{journal.id}-2", audio_ms=99).model_dump_json()
    journal.hashes[2:] = [chained(journal.hashes[1], 2, journal.bodies[1])]
    ran = await take(authority, journal.export(tmp_path / "other", 1, 2))
    assert ran.status == exit_codes.INVALID
    assert f"journal {journal.id} is known with other records before number 4" in ran.err


async def test_nothing_is_imported_while_one_file_is_not_whole(
    authority: AuthorityProcess, journal: Journal, tmp_path: Path
) -> None:
    whole, cut = journal.export(tmp_path / "whole", 1, 3), journal.export(tmp_path / "cut", 4, 9)
    cut.write_bytes(cut.read_bytes()[:-30])
    ran = await take(authority, whole, cut, tmp_path / "nowhere")
    assert ran.status == exit_codes.INVALID
    assert f"{cut}: it is cut short; nothing was imported" in ran.err
    assert f"{tmp_path / 'nowhere'}: No such file or directory; nothing was imported" in ran.err
    assert await billed(authority, journal) == 0


async def test_usage_under_somebody_elses_license_is_refused(
    authority: AuthorityProcess, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    async with authority_process(tmp_path_factory.mktemp("other")) as other:
        stranger = Journal((await other.issue(offline=True)).license)
    ran = await take(authority, stranger.export(tmp_path / "usage", 1, 9))
    assert ran.status == exit_codes.REFUSED
    assert "answered 422: export: " in ran.err
    assert stranger.license not in ran.err
