import gzip

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.usage import chain_start, chained
from streamstack_common.usage_export import ExportError, journal_id_of, write_export
from streamstack_license_authority.imports import RECORDS_AT_ONCE, runs, unpacked
from support.usage_journal import STARTED_AT


def exported(bodies: list[str]) -> bytes:
    key = Ed25519PrivateKey.generate()
    after = chain_start(journal_id_of(key.public_key()))
    lines = write_export(key=key, license="a", first=1, after=after, bodies=bodies, exported_at=STARTED_AT)
    return b"".join(lines)


def test_a_large_file_is_taken_in_pieces_that_follow_from_each_other() -> None:
    export = unpacked(gzip.compress(exported([str(n) for n in range(2 * RECORDS_AT_ONCE + 7)])))
    pieces = list(runs(export))
    assert [len(piece.records) for piece in pieces] == [RECORDS_AT_ONCE, RECORDS_AT_ONCE, 7]
    head, number = export.after, 0
    for piece in pieces:
        assert piece.after == head
        for record in piece.records:
            number += 1
            head = chained(head, number, record.body)
            assert (record.number, record.hash) == (number, head)
    assert head == export.head


def test_a_file_of_exactly_one_piece_is_one_piece() -> None:
    export = unpacked(gzip.compress(exported(["a"] * RECORDS_AT_ONCE)))
    assert [len(piece.records) for piece in runs(export)] == [RECORDS_AT_ONCE]


def test_an_empty_export_has_no_pieces() -> None:
    assert list(runs(unpacked(gzip.compress(exported([]))))) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"not gzip", bytes(range(100)), gzip.compress(b"x" * 1000, mtime=0)[:-4]],
    ids=["empty", "text", "binary", "cut short"],
)
def test_what_is_no_gzip_file_is_refused(body: bytes) -> None:
    with pytest.raises(ExportError):
        unpacked(body)


def test_a_damaged_file_is_refused() -> None:
    packed = bytearray(gzip.compress(exported(["a", "b"])))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(ExportError):
        unpacked(bytes(packed))


@pytest.mark.parametrize("filling", [b"\0", b"\n", b"{}\n"], ids=["one line", "empty lines", "lines"])
def test_a_small_file_that_unpacks_to_a_huge_one_ends_early(filling: bytes) -> None:
    bomb = gzip.compress(exported(["a"]) + filling * 30_000_000)
    assert len(bomb) < 1_000_000
    with pytest.raises(ExportError):
        unpacked(bomb)
