"""Reading an export file that came by hand: unpacked within bounds, proved by its journal's own key."""

import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO, Final, cast

from streamstack_common.authority import MAX_RECORDS
from streamstack_common.usage_export import Export, ExportError, bounded_lines, read_export
from streamstack_license_authority.chain import Run, linked

MAX_IMPORT_BYTES: Final = 64 * 1024 * 1024
"""Of a file as it is sent, packed; unpacked, an export's own limits hold."""
RECORDS_AT_ONCE: Final = 10 * MAX_RECORDS
"""Of one transaction: uploads of living stacks have to get their turn in between."""


def unpacked(body: bytes) -> Export:
    """Return the export in a gzip file.

    Raises:
        ExportError: it is none, or too large.

    """
    try:
        # Lines are taken as they are unpacked, and counted: a small file that unpacks to a huge one ends early.
        with gzip.GzipFile(fileobj=io.BytesIO(body), mode="rb") as file:
            return read_export(bounded_lines(cast("BinaryIO", file)))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ExportError("expected a whole file packed with gzip") from error


def runs(export: Export) -> Iterator[Run]:
    """Cut an export into runs that one transaction takes; none of an empty one.

    Raises:
        ChainError: its records do not follow from each other.

    """
    if not export.bodies:
        return
    whole = linked(first=export.first, after=export.after, head=export.head, bodies=export.bodies)
    starts = [*range(0, len(whole.records), RECORDS_AT_ONCE), len(whole.records)]
    for start, end in pairwise(starts):
        after = whole.records[start - 1].hash if start else whole.after
        yield Run(after, whole.records[start:end])
