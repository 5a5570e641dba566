from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.keyring import parse_jwks
from streamstack_common.usage_export import journal_id_of, write_export
from support.authority_process import AuthorityProcess, authority_process
from support.usage_journal import STARTED_AT, UsageJournal, report


@dataclass
class ExportingJournal:
    """A journal and the key that signs its exports."""

    license: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.journal = UsageJournal(journal_id_of(self.key.public_key()))

    @property
    def journal_id(self) -> str:
        return self.journal.journal_id

    def exported(self, first: int = 1, last: int | None = None) -> bytes:
        end = len(self.journal.bodies) if last is None else last
        return b"".join(
            write_export(
                key=self.key,
                license=self.license,
                first=first,
                after=self.journal.hashes[first - 1],
                bodies=self.journal.bodies[first - 1 : end],
                exported_at=STARTED_AT,
            )
        )


async def through(authority: AuthorityProcess, receipt: str) -> tuple[str, int]:
    key = parse_jwks(await authority.jwks(), source="test")[jwt.get_unverified_header(receipt)["kid"]]
    said = jwt.decode(receipt, key, algorithms=["EdDSA"], audience="streamstack-receipt")
    return said["sub"], said["through"]


async def test_a_file_is_taken_once_and_a_receipt_says_how_far(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        offline = await authority.issue(customer="acme", offline=True)
        mine = ExportingJournal(offline.license)
        mine.journal.append(*[report(sequence=n, audio_ms=n * 10) for n in range(1, 21)], "unreadable")

        status, body = await authority.import_file(mine.journal_id, mine.exported(1, 12))
        assert status == 200, body
        assert await through(authority, body.pop("receipt")) == (mine.journal_id, 12)
        assert body == {
            "journal_id": mine.journal_id,
            "customer": "acme",
            "accepted": 12,
            "duplicates": 0,
            "unreadable": 0,
            "next": 13,
        }
        status, body = await authority.import_file(mine.journal_id, mine.exported(15, 21))
        assert (status, body["next"], body["problem"]) == (409, 13, "gap")
        assert "records 13 to 14 are missing" in body["error"]

        status, body = await authority.import_file(mine.journal_id, mine.exported(5))
        assert (status, body["accepted"], body["duplicates"], body["unreadable"]) == (200, 9, 8, 1)
        assert await through(authority, body["receipt"]) == (mine.journal_id, 21)
        (row,) = (await authority.sessions()).values()
        assert (row["audio_ms"], row["journals"]) == (200, [mine.journal_id])


async def test_what_was_uploaded_before_is_known_to_an_import_and_the_other_way_round(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        mine = ExportingJournal(issued.license)
        mine.journal.append(*[report(sequence=n, audio_ms=n) for n in range(1, 7)])
        post = mine.journal.path
        assert (await authority.post(post, mine.journal.upload(1, 3), token=issued.api_key))[0] == 200
        _, body = await authority.import_file(mine.journal_id, mine.exported(1, 5))
        assert (body["accepted"], body["duplicates"]) == (2, 3)
        assert (await authority.post(post, mine.journal.upload(4, 6), token=issued.api_key))[1]["next"] == 7
        (row,) = (await authority.sessions()).values()
        assert row["audio_ms"] == 6


async def test_an_empty_file_says_where_the_ledger_ends(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        mine = ExportingJournal(issued.license)
        status, body = await authority.import_file(mine.journal_id, mine.exported())
        assert (status, body["next"], body["accepted"]) == (200, 1, 0)
        assert await through(authority, body["receipt"]) == (mine.journal_id, 0)


async def test_a_file_that_was_touched_or_is_of_another_license_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with authority_process(tmp_path) as authority, authority_process(other) as stranger:
        issued, foreign = await authority.issue(), await stranger.issue()
        mine = ExportingJournal(issued.license)
        mine.journal.append(report(audio_ms=77), report(sequence=2, audio_ms=88))
        good = mine.exported()
        theirs = ExportingJournal(foreign.license)
        theirs.journal.append(report())
        unknown = ExportingJournal(issued.license)
        unknown.journal.append(report())
        attempts = {
            "the chain of the records ends elsewhere": (
                mine.journal_id,
                good.replace(b'audio_ms\\":77', b'audio_ms\\":76'),
            ),
            "it has no end": (mine.journal_id, good[:-1]),
            "expected journal": (mine.journal_id, unknown.exported()),
            "license: signed with key": (theirs.journal_id, theirs.exported()),
        }
        for complaint, (journal_id, content) in attempts.items():
            status, body = await authority.import_file(journal_id, content)
            assert (status, complaint in body["error"]) == (422, True), body
        status, body = await authority.import_gzipped(mine.journal_id, good)
        assert (status, body) == (422, {"error": "export: expected a whole file packed with gzip"})
        assert (await authority.import_file(mine.journal_id, good, token=issued.api_key))[0] == 401
        assert await authority.sessions() == {}


async def test_a_journal_that_goes_its_own_way_or_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        acme, rival = await authority.issue(), await authority.issue(customer="rival")
        mine = ExportingJournal(acme.license)
        mine.journal.append(report(audio_ms=1), report(sequence=2, audio_ms=2))
        assert (await authority.import_file(mine.journal_id, mine.exported()))[0] == 200

        fork = ExportingJournal(acme.license, mine.key)
        fork.journal.append(report(audio_ms=100), report(sequence=2, audio_ms=200), report(sequence=3, audio_ms=300))
        status, body = await authority.import_file(fork.journal_id, fork.exported())
        assert (status, body["problem"], body["next"]) == (409, "fork", 3)

        stolen = ExportingJournal(rival.license, mine.key)
        stolen.journal = mine.journal
        assert (await authority.import_file(stolen.journal_id, stolen.exported()))[0] == 403
        (row,) = (await authority.sessions()).values()
        assert row["audio_ms"] == 2
