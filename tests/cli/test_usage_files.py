"""Exported files as they are read here: whole or refused, and in the order in which they can be taken."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli import usage_files
from streamstack_cli.usage_files import Exported, in_order
from streamstack_common.usage import chain_start
from streamstack_common.usage_export import ExportError, journal_id_of, write_export

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
JOURNAL = journal_id_of(KEY.public_key())


def exported(*bodies: str) -> bytes:
    lines = write_export(
        key=KEY,
        license="a.b.c",
        first=1,
        after=chain_start(JOURNAL),
        bodies=bodies,
        exported_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return gzip.compress(b"".join(lines), mtime=0)


WHOLE = exported("one", "two", "three")


def check(folder: Path, content: bytes) -> Exported:
    path = folder / "usage.jsonl.gz"
    path.write_bytes(content)
    with path.open("rb") as file:
        file.read(1)
        return usage_files.check(file, path)


def test_a_whole_file_is_named_by_its_journal_and_its_records(tmp_path: Path) -> None:
    one = check(tmp_path, WHOLE)
    assert (one.journal_id, one.first, one.last, one.records) == (JOURNAL, 1, 3, "records 1 to 3")
    assert one.receipt_path == tmp_path / "usage.jsonl.gz.receipt"
    assert check(tmp_path, exported()).records == "no records"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE[:12], gzip.compress(b"{}\n"), gzip.compress(b"")],
    ids=["empty", "plain", "cut at the end", "cut in the middle", "cut at the start", "something else", "nothing"],
)
def test_what_is_no_whole_export_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ExportError):
        check(tmp_path, content)


@given(at=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    """gzip's header has bytes without a meaning, such as a time."""
    changed = bytearray(WHOLE)
    changed[at] ^= flip
    try:
        one = check(tmp_path_factory.mktemp("export"), bytes(changed))
    except ExportError:
        return
    assert (one.journal_id, one.first, one.last) == (JOURNAL, 1, 3)
    assert gzip.decompress(changed) == gzip.decompress(WHOLE)


PIECES = [
    Exported(Path(name), journal, first, first + 9)
    for name, journal, first in (("z", "a", 1), ("y", "a", 11), ("x", "a", 101), ("w", "b", 1), ("v", "b", 11))
]


@given(st.permutations(PIECES))
def test_records_of_a_journal_come_as_they_were_made_whatever_the_files_are_called(given: list[Exported]) -> None:
    assert in_order(given) == PIECES
