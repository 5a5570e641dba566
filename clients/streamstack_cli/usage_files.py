"""Files of exported usage: gzip'ed JSON lines, checked whole, and the order in which an authority takes them."""

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from streamstack_common.usage_export import Export, ExportError, bounded_lines, read_export

MAX_PACKED_BYTES: Final = 64 * 1024 * 1024
"""Of one file as it is sent, which is what an authority takes; unpacked, an export's own limits hold."""

RECEIPT_SUFFIX: Final = ".receipt"


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that holds a whole export, records ``first`` to ``last`` of a journal; none when ``last`` < ``first``."""

    path: Path
    journal_id: str
    first: int
    last: int

    @property
    def records(self) -> str:
        """Return which records it holds, for people."""
        return "no records" if self.last < self.first else f"records {self.first} to {self.last}"

    @property
    def receipt_path(self) -> Path:
        """Return where its receipt goes."""
        return self.path.with_name(self.path.name + RECEIPT_SUFFIX)


def check(file: IO[bytes], path: Path) -> Exported:
    """Check an open file from its begin; ``path`` is its name. Raises ExportError."""
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            export: Export = read_export(bounded_lines(cast("BinaryIO", unpacked)))
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ExportError("expected gzip'ed JSON lines: it is no gzip file, or a damaged one") from error
    except EOFError as error:
        raise ExportError("it is cut short") from error
    return Exported(path, export.journal_id, export.first, export.first + len(export.bodies) - 1)


def in_order(exported: Iterable[Exported]) -> list[Exported]:
    """Order files so that each journal's records come as they were made: an authority takes none after a gap."""
    return sorted(exported, key=lambda one: (one.journal_id, one.first, one.last))
