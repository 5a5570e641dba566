import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common import usage_export
from streamstack_common.usage import chain_start, chained
from streamstack_common.usage_export import (
    MAX_LINE_BYTES,
    ExportError,
    bounded_lines,
    journal_id_of,
    read_export,
    write_export,
)

KEY = Ed25519PrivateKey.generate()
JOURNAL = journal_id_of(KEY.public_key())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODIES = ('{"one":1}', '{"zwei":"ü"}', '{"three":"\\"\\\\"}')
# Whatever can be written in UTF-8; a report's JSON is part of it.
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=5)

Line = dict[str, Any]


def written(bodies: tuple[str, ...] = BODIES, *, first: int = 1, after: bytes | None = None) -> list[bytes]:
    return list(
        write_export(
            key=KEY,
            license="a.b.c",
            first=first,
            after=chain_start(JOURNAL) if after is None else after,
            bodies=bodies,
            exported_at=NOW,
        )
    )


def changed(number: int, change: Callable[[Line], Line], lines: list[bytes] | None = None) -> list[bytes]:
    """An export with one line changed, and nothing signed again."""
    lines = written() if lines is None else lines
    lines[number] = json.dumps(change(json.loads(lines[number]))).encode() + b"\n"
    return lines


@given(TEXTS, st.integers(1, 2**40), st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(bodies: list[str], first: int, after: bytes) -> None:
    after = chain_start(JOURNAL) if first == 1 else after
    read = read_export(bounded_lines(io.BytesIO(b"".join(written(tuple(bodies), first=first, after=after)))))
    assert (read.journal_id, read.license, read.first, read.after) == (JOURNAL, "a.b.c", first, after)
    assert read.bodies == tuple(bodies)
    head = after
    for number, body in enumerate(bodies, first):
        head = chained(head, number, body)
    assert read.head == head


def test_its_lines_are_as_documented() -> None:
    header, *records, last = [json.loads(line) for line in written()]
    public = usage_export._encoded(KEY.public_key().public_bytes_raw())
    assert header == {
        "format": "streamstack-usage/1",
        "journal_id": hashlib.sha256(KEY.public_key().public_bytes_raw()).hexdigest()[:32],
        "public_key": public,
        "license": "a.b.c",
        "first": 1,
        "after": chain_start(JOURNAL).hex(),
        "exported_at": "2026-01-01T00:00:00.000000Z",
    }
    assert records == [{"n": number, "body": body} for number, body in enumerate(BODIES, 1)]
    assert (last["last"], last["records"]) == (3, 3)
    signature = usage_export._decoded(last["signature"], 64, where="signature")
    KEY.public_key().verify(signature, hashlib.sha256(b"".join(written()[:-1])).digest())


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    content = bytearray(b"".join(written()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ExportError):
        read_export(bounded_lines(io.BytesIO(bytes(content))))


@given(st.integers(0, len(b"".join(written())) - 1))
def test_no_part_of_it_is_taken_for_the_whole(size: int) -> None:
    with pytest.raises(ExportError):
        read_export(bounded_lines(io.BytesIO(b"".join(written())[:size])))


def _other_key(header: Line) -> Line:
    return {**header, "public_key": usage_export._encoded(Ed25519PrivateKey.generate().public_key().public_bytes_raw())}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "line 1: expected the header"),
        ([b"[" * 100_000 + b"\n"], "line 1: expected the header"),
        ([b"{}\n"], "line 1: expected the header of streamstack-usage/1: journal_id: Field required"),
        (changed(0, lambda header: {**header, "format": "streamstack-usage/2"}), "line 1: .*format"),
        (changed(0, _other_key), "line 1: public_key: it is not the key of journal_id"),
        (changed(0, lambda header: {**header, "public_key": "AAAA"}), "expected 32 bytes as unpadded base64url"),
        (changed(0, lambda header: {**header, "public_key": header["public_key"] + "="}), "unpadded base64url"),
        (changed(0, lambda header: {**header, "after": "0" * 64}), "line 1: after: expected the start"),
        (changed(0, lambda header: {**header, "license": "other"}), "signature: it is not the journal's"),
        (changed(2, lambda record: {**record, "n": 3}), "line 3: record 3: expected record 2"),
        (changed(2, lambda record: {**record, "body": "{}"}), "head: the chain of the records ends elsewhere"),
        (changed(2, lambda record: {**record, "body": "\ud800"}), "line 3: expected a record"),
        (changed(2, lambda record: {**record, "body": "x" * 4097}), "line 3: expected a record: body"),
        (changed(4, lambda last: {**last, "records": 2}), "2 records up to 3: expected 3 up to 3"),
        (changed(4, lambda last: {**last, "last": 4}), "3 records up to 4: expected 3 up to 3"),
        (changed(4, lambda last: {**last, "signature": "A" * 86}), "signature: it is not the journal's"),
        (changed(4, lambda last: {**last, "signature": "é"}), "expected 64 bytes as unpadded base64url"),
        (written()[:2] + written()[3:], "line 3: record 3: expected record 2"),
        (written()[:-1], "line 4: expected the signed last line: last: Field required"),
        ([*written(), b"{}\n"], "line 5: expected a record"),
        ([*written()[:-1], written()[-1][:-1]], "line 5: it has no end"),
        ([b"x" * (MAX_LINE_BYTES + 1)], f"line 1: expected at most {MAX_LINE_BYTES} bytes"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: list[bytes], complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        read_export(lines)


def test_a_line_without_an_end_is_not_read_to_it() -> None:
    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= MAX_LINE_BYTES + 1
            return b"x" * size

    with pytest.raises(ExportError, match="line 1: expected at most"):
        list(bounded_lines(Endless()))


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_export, "MAX_EXPORT_RECORDS", 3)
    assert len(read_export(written()).bodies) == 3
    monkeypatch.setattr(usage_export, "MAX_EXPORT_RECORDS", 2)
    with pytest.raises(ExportError, match="line 5: expected at most 2 records"):
        read_export(written())
    monkeypatch.undo()
    monkeypatch.setattr(usage_export, "MAX_EXPORT_BYTES", 500)
    with pytest.raises(ExportError, match="expected at most 500 bytes"):
        read_export(written())
