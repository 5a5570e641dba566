"""Usage as a file, for stacks without a way to their authority: a piece of one journal, chained and signed.

JSON lines: a header, a line for each record, and a last line whose signature covers every byte before it. The journal's
own key signs: that the key belongs to a customer is said by the license in the header, which its reader verifies.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, BinaryIO, Final, Literal, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamstack_common.authority import Hash, JournalId
from streamstack_common.license_status import Timestamp
from streamstack_common.usage import chain_start, chained

EXPORT_PATH: Final = "/v1/usage/export"
RECEIPTS_PATH: Final = "/v1/usage/receipts"
RECEIPT_AUDIENCE: Final = "streamstack-receipt"

FORMAT: Final = "streamstack-usage/1"
MAX_EXPORT_RECORDS: Final = 200_000
MAX_EXPORT_BYTES: Final = 256 * 1024 * 1024
"""Of one file, unpacked."""
MAX_LINE_BYTES: Final = 128 * 1024
"""Of one line: the header holds a license of up to 64 KiB; a record's 4,096 characters take 48 KiB at most."""

_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32


class ExportError(ValueError):
    """The file is not a whole, authentic export; the message says which line is wrong and what was expected."""


class Receipt(BaseModel):
    """Claims of the JWT that an authority signs for an imported file: what of the journal is in its ledger.

    Everything up to and with record ``through``; ``journal_id`` is its subject. ``POST /v1/usage/receipts`` of the
    proxy that has the journal takes the JWT as its body.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    aud: Literal["streamstack-receipt"] = RECEIPT_AUDIENCE
    journal_id: JournalId = Field(alias="sub")
    through: Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class Export:
    """Records ``first``, ``first`` + 1 and so on of one journal, whose chain and signature hold.

    ``license`` is the token of the stack's license, not verified here. ``after`` is the hash before the first record,
    ``head`` that of the last; they are the same where there are none.
    """

    journal_id: str
    license: str
    first: int
    after: bytes
    head: bytes
    bodies: tuple[str, ...]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Header(_Line):
    format: Literal["streamstack-usage/1"] = FORMAT
    journal_id: JournalId
    public_key: Annotated[str, Field(max_length=64)]
    license: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    first: Annotated[int, Field(ge=1, lt=2**63)]
    after: Hash
    exported_at: Annotated[Timestamp, Field(strict=False)]


class _Record(_Line):
    n: Annotated[int, Field(ge=1, lt=2**63)]
    body: Annotated[str, Field(max_length=4096)]


class _Last(_Line):
    last: Annotated[int, Field(ge=0, lt=2**63)]
    head: Hash
    records: Annotated[int, Field(ge=0)]
    signature: Annotated[str, Field(max_length=128)]


_AnyLine = TypeVar("_AnyLine", bound=_Line)


def journal_id_of(key: Ed25519PublicKey) -> str:
    """Return the name of the journal that a key was made with: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def write_export(
    *,
    key: Ed25519PrivateKey,
    license: str,  # noqa: A002 - named as in the file
    first: int,
    after: bytes,
    bodies: Iterable[str],
    exported_at: datetime,
) -> Iterator[bytes]:
    """Give the lines of an export, each with its line feed; at most ``MAX_EXPORT_RECORDS`` bodies can be read back."""
    public = key.public_key()
    digest, head, number = hashlib.sha256(), after, first
    header = _Header(
        journal_id=journal_id_of(public),
        public_key=_encoded(public.public_bytes_raw()),
        license=license,
        first=first,
        after=after.hex(),
        exported_at=exported_at,
    )
    line = _line(header)
    digest.update(line)
    yield line
    for body in bodies:
        head = chained(head, number, body)
        line = _line(_Record(n=number, body=body))
        digest.update(line)
        yield line
        number += 1
    signature = _encoded(key.sign(digest.digest()))
    yield _line(_Last(last=number - 1, head=head.hex(), records=number - first, signature=signature))


def read_export(lines: Iterable[bytes]) -> Export:
    """Check an export whole: format, order, chain, and that the journal's own key signed it.

    ``lines`` are as they stand in the file, line feeds included; :func:`bounded_lines` gives those of a file that is
    not trusted. The license is the caller's to verify.

    Raises:
        ExportError: the file is cut short, changed, or no export.

    """
    numbered = _checked_lines(lines)
    digest = hashlib.sha256()
    where, line = next(numbered, (1, b""))
    header = _parsed(_Header, where, line)
    key = _public_key(header)
    after = bytes.fromhex(header.after)
    if header.first == 1 and after != chain_start(header.journal_id):
        raise ExportError("line 1: after: expected the start of the journal's chain before record 1")
    head, bodies = after, list[str]()
    digest.update(line)
    held = next(numbered, (2, b""))
    for following in numbered:
        head = _taken(held, first=header.first, head=head, bodies=bodies)
        digest.update(held[1])
        held = following
    _check_last(_parsed(_Last, *held), key, digest.digest(), head=head, first=header.first, records=len(bodies))
    return Export(header.journal_id, header.license, header.first, after, head, tuple(bodies))


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a file that may hold anything, one without an end among them: none is read further than allowed.

    Raises:
        ExportError: a line is longer than ``MAX_LINE_BYTES``.

    """
    number = 1
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise ExportError(f"line {number}: expected at most {MAX_LINE_BYTES} bytes")
        yield line
        number += 1


def _checked_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number lines from 1 and hold them to the limits."""
    total = 0
    for number, line in enumerate(lines, 1):
        total += len(line)
        if number > MAX_EXPORT_RECORDS + 2:
            raise ExportError(f"line {number}: expected at most {MAX_EXPORT_RECORDS} records in one file")
        if len(line) > MAX_LINE_BYTES:
            raise ExportError(f"line {number}: expected at most {MAX_LINE_BYTES} bytes")
        if total > MAX_EXPORT_BYTES:
            raise ExportError(f"line {number}: expected at most {MAX_EXPORT_BYTES} bytes in one file")
        if not line.endswith(b"\n"):
            raise ExportError(f"line {number}: it has no end: the file is cut short")
        yield number, line


def _parsed(shape: type[_AnyLine], number: int, line: bytes) -> _AnyLine:
    try:
        return shape.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        what = {_Header: f"the header of {FORMAT}", _Record: "a record", _Last: "the signed last line"}[shape]
        raise ExportError(f"line {number}: expected {what}: {field + ': ' if field else ''}{first['msg']}") from None


def _taken(numbered: tuple[int, bytes], *, first: int, head: bytes, bodies: list[str]) -> bytes:
    """Append the record of one line; returns the chain's new head."""
    record = _parsed(_Record, *numbered)
    expected = first + len(bodies)
    if record.n != expected:
        raise ExportError(f"line {numbered[0]}: record {record.n}: expected record {expected}")
    bodies.append(record.body)
    return chained(head, record.n, record.body)


def _public_key(header: _Header) -> Ed25519PublicKey:
    key = Ed25519PublicKey.from_public_bytes(_decoded(header.public_key, _KEY_BYTES, where="line 1: public_key"))
    if journal_id_of(key) != header.journal_id:
        raise ExportError("line 1: public_key: it is not the key of journal_id")
    return key


def _check_last(last: _Last, key: Ed25519PublicKey, digest: bytes, *, head: bytes, first: int, records: int) -> None:
    if (last.records, last.last) != (records, first + records - 1):
        raise ExportError(
            f"last line: {last.records} records up to {last.last}: expected {records} up to {first + records - 1}"
        )
    if last.head != head.hex():
        raise ExportError("last line: head: the chain of the records ends elsewhere: one was changed")
    try:
        key.verify(_decoded(last.signature, _SIGNATURE_BYTES, where="last line: signature"), digest)
    except InvalidSignature:
        raise ExportError("last line: signature: it is not the journal's over this file") from None


def _line(line: _Line) -> bytes:
    return line.model_dump_json().encode("utf-8") + b"\n"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str, size: int, *, where: str) -> bytes:
    """Bytes of unpadded base64url (RFC 4648 5), of which only one spelling is taken."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if len(data) != size or _encoded(data) != text:
        raise ExportError(f"{where}: expected {size} bytes as unpadded base64url")
    return data
