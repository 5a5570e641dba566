"""Makes the signed file of a journal's records (``streamstack_common.usage_export``), packed, page by page."""

import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.usage_export import MAX_EXPORT_BYTES, MAX_EXPORT_RECORDS, journal_id_of, write_export
from streamstack_license_proxy.journal.errors import JournalMovedOnError
from streamstack_license_proxy.journal.reader import Reader
from streamstack_license_proxy.journal.records import Batch

PAGE_RECORDS: Final = 1_000
PAGE_BYTES: Final = 1024 * 1024
GZIP: Final = 16 + zlib.MAX_WBITS
"""``wbits`` of a gzip stream (zlib manual, deflateInit2)."""
ROOM_BYTES: Final = MAX_EXPORT_BYTES // 2
"""Of bodies: what stands around them takes less than they do."""


def packed_export(
    reader: Reader,
    key: Ed25519PrivateKey,
    *,
    license: str,  # noqa: A002 - named as in the file
    first: int | None,
    limit: int,
    exported_at: datetime,
) -> bytes:
    """Return the gzip of an export of at most ``limit`` records from ``first`` on (default: what is not in the ledger).

    Blocks for seconds where there are many.

    Raises:
        JournalMovedOnError: the records are gone, or the journal was replaced meanwhile.
        JournalError: it cannot be read.

    """
    limit = min(limit, MAX_EXPORT_RECORDS)
    page = reader.batch(first, max_records=min(limit, PAGE_RECORDS), max_bytes=PAGE_BYTES)
    if page.journal_id != journal_id_of(key.public_key()):
        raise JournalMovedOnError("the journal was replaced meanwhile: ask again")
    packing = zlib.compressobj(wbits=GZIP)
    bodies = _bodies(reader, page, limit)
    lines = write_export(
        key=key, license=license, first=page.first, after=page.after, bodies=bodies, exported_at=exported_at
    )
    pieces = [packing.compress(line) for line in lines]
    return b"".join((*pieces, packing.flush()))


def _bodies(reader: Reader, page: Batch, limit: int) -> Iterator[str]:
    """Bodies from a first page on, which every further page has to follow."""
    room, left = ROOM_BYTES, limit
    while page.bodies and left > 0 and room > 0:
        yield from page.bodies
        left -= len(page.bodies)
        room -= sum(map(len, page.bodies))
        following = page.first + len(page.bodies)
        journal_id, head = page.journal_id, page.head
        page = reader.batch(following, max_records=max(1, min(left, PAGE_RECORDS)), max_bytes=PAGE_BYTES)
        if (page.journal_id, page.after) != (journal_id, head):
            raise JournalMovedOnError("the journal was replaced meanwhile: ask again")
